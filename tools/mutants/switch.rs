// Goes to the end of a mutated src/lib.rs. MUTANT is a mutant's number, or `trace` to write the numbers of all that are
// reached, once each, to the file MUTANT_TRACE. It allocates nothing after its first call.

#[doc(hidden)]
#[inline(always)]
pub fn mutant(number: usize) -> bool {
    let chosen = mutant_switch::CHOSEN.load(std::sync::atomic::Ordering::Relaxed);
    if chosen < mutant_switch::NONE { chosen == number } else { mutant_switch::other(chosen, number) }
}

mod mutant_switch {
    use std::{fs::File, io::Write, sync::{OnceLock, atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed}}};
    pub const NONE: usize = usize::MAX - 2;
    const TRACE: usize = NONE + 1;
    const UNSET: usize = NONE + 2;
    pub static CHOSEN: AtomicUsize = AtomicUsize::new(UNSET);
    static REACHED: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];
    static TRACED: OnceLock<File> = OnceLock::new();
    #[inline(always)]
    pub fn other(chosen: usize, number: usize) -> bool { chosen != NONE && set_or_trace(chosen, number) }
    #[cold]
    #[inline(never)]
    fn set_or_trace(mut chosen: usize, number: usize) -> bool {
        if chosen == UNSET {
            chosen = match std::env::var("MUTANT").as_deref() {
                Err(_) => NONE,
                Ok("trace") => TRACE,
                Ok(number) => number.parse().unwrap(),
            };
            CHOSEN.store(chosen, Relaxed);
        }
        if chosen == TRACE && !REACHED[number].swap(true, Relaxed) {
            let open = || File::options().append(true).open(std::env::var("MUTANT_TRACE").unwrap()).unwrap();
            TRACED.get_or_init(open).write_all(&(number as u32).to_le_bytes()).unwrap();
        }
        chosen == number
    }
}
