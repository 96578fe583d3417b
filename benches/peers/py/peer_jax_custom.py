"""Custom cells as a JAX user writes them: jit of lax.scan, the input product of all steps hoisted out of it as one matmul."""
import os, sys; sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
TH = int(sys.argv[1])
if TH == 1:     # pinning before the import is the only robust way to hold XLA:CPU to one core
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
from pc import *
import jax, jax.numpy as jnp
from jax.nn import sigmoid
for k, v in (("jax_compilation_cache_dir", os.path.join(ROOT, f"jaxcache{TH}")), ("jax_persistent_cache_min_compile_time_secs", 0.0),
             ("jax_persistent_cache_min_entry_size_bytes", -1)):
    try: jax.config.update(k, v)      # only saves compile time on a second run
    except Exception as e: print("cache", e)
b = Bench("jax-jit", TH, tuple(CUSTOM), CUSTOM_PLAN)

def norm(v, P, name):
    v = v - v.mean(1, keepdims=True)
    return v * jax.lax.rsqrt((v * v).mean(1, keepdims=True) + 1e-12) * P[name + "/gamma"] + P[name + "/beta"]

# A step: the parameters, the inputs' share of the sums, the state -> the state, whose last leaf is the output.
def lstm(P, xz, state):
    c, h = state
    i, j, f, o = jnp.split(xz + h @ P["recurrent"], 4, 1)
    c = sigmoid(f + 1) * c + sigmoid(i) * jnp.tanh(j)
    return c, sigmoid(o) * jnp.tanh(c)

def layer_norm_lstm(P, xz, state):
    c, h = state
    i, j, f, o = (norm(v, P, n) for v, n in zip(jnp.split(xz + h @ P["recurrent"], 4, 1), NORMS))
    c = norm(sigmoid(f + 1) * c + sigmoid(i) * jnp.tanh(j), P, "state")
    return c, sigmoid(o) * jnp.tanh(c)

def ugrnn(P, xz, state):
    g, c = jnp.split(xz + state[0] @ P["recurrent"], 2, 1)
    g = sigmoid(g + 1)
    return g * state[0] + (1 - g) * jnp.tanh(c),

STEPS = {"custom/lstm": lstm, "custom/layer_norm_lstm": layer_norm_lstm, "custom/ugrnn": ugrnn}

def share(P, x):
    z = x @ P["inputs"]
    return z + P["bias"] if "bias" in P else z

def unroll(step, P, x, state):
    def body(state, xz):
        state = step(P, xz, state)
        return state, state[-1]
    return jax.lax.scan(body, state, share(P, x))[1]

for cell, wl, mode in b.plan():
    try:
        c = Custom(cell, wl); x = jnp.asarray(c.x); state = tuple(map(jnp.asarray, c.state)); step = STEPS[cell]
        P = {n: jnp.asarray(v) for n, v in c.weights.items()}
        kernel = P.pop("kernel"); P["inputs"], P["recurrent"] = kernel[:c.I], kernel[c.I:]
        if mode == "train":
            dy, gx, want = c.gradients(); dy = jnp.asarray(dy)
            run = jax.jit(lambda P, x: jax.grad(lambda P, x: jnp.sum(unroll(step, P, x, state) * dy), argnums=(0, 1))(P, x))
            got, got_x = run(P, x); check("gx", got_x, gx, 1e-3, True)
            got["kernel"] = jnp.concatenate([got.pop("inputs"), got.pop("recurrent")])
            for n, v in want.items(): check("g_" + n, got[n], v, 1e-3, True)
            f = lambda: jax.block_until_ready(run(P, x))
        elif wl == "stream":
            run = jax.jit(lambda P, x, state: step(P, share(P, x), state)); x0 = x[0]; now = [state]
            check("y", run(P, x0, state)[-1], c.y[0])
            def f():
                now[0] = run(P, x0, now[0]); now[0][-1].block_until_ready()
        else:
            run = jax.jit(lambda P, x: unroll(step, P, x, state))
            check("y", run(P, x), c.y)
            f = lambda: run(P, x).block_until_ready()
        b.time(cell, wl, mode, f)
    except Exception as e:
        print("FAIL", b.peer, cell, wl, mode, err_note(e)); b.skip(cell, wl, mode, err_note(e))
