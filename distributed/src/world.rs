//! [`World`]: the processes of a job, and what they do together.

use crate::Error;
use crate::checksum::{checksum, layout, text};
use mpi::Threading;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root};
use rnn_cell::weights::safetensors;
use rnn_cell::{Float, Parameters, ParametersMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

/// Numbers that are sent in one message, at most.
const MESSAGE: usize = 1 << 28;

/// The processes of a job. Every method that compares or sends must be called by all of them, in the same order.
pub struct World {
    communicator: SimpleCommunicator,
}

/// Starts MPI and runs `body`, the whole program of one process.
///
/// If it returns an error or panics, the message is printed with the rank, and the whole job ends with a failure: no
/// process waits for one that is gone. (A process that is killed ends the job too. That is `mpirun`'s work.)
#[must_use]
pub fn run(body: impl FnOnce(&World) -> Result<(), Error>) -> ExitCode {
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
        eprintln!("{}", Error::NoMpi);
        return ExitCode::FAILURE;
    };
    let world = World { communicator: universe.world() };
    match catch_unwind(AssertUnwindSafe(|| body(&world))) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) => eprintln!("rank {}: {error}", world.rank()),
        Err(_) => eprintln!("rank {}: panicked", world.rank()),
    }
    world.communicator.abort(1)
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("rank", &self.rank()).field("size", &self.size()).finish()
    }
}

impl World {
    /// The number of this process, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.communicator.rank() as usize
    }

    /// The number of processes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.communicator.size() as usize
    }

    /// Whether this is rank 0, which shows progress.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    pub(crate) fn communicator(&self) -> &SimpleCommunicator {
        &self.communicator
    }

    /// Compares the options of the run, such as `format!("{options:?}")`, before it begins.
    ///
    /// # Errors
    /// [`Error::Differ`] if a process has others.
    pub fn agree_on_options(&self, options: &str) -> Result<(), Error> {
        self.agree(Ok([text(0, options)]), ["the options"])
    }

    /// Compares parameters: the weights of a model, what an optimizer remembers.
    ///
    /// # Errors
    /// [`Error::Differ`] if a process has others.
    pub fn agree_on_parameters<E: Float, P: Parameters<E> + ?Sized>(&self, parameters: &P) -> Result<(), Error> {
        self.agree(Ok([checksum(parameters)]), ["the parameters"])
    }

    /// Writes parameters to a file, as [`safetensors::save`] does. Rank 0 writes. The old file stays until the new one is
    /// complete.
    ///
    /// # Errors
    /// [`Error::Own`] in rank 0 and [`Error::Other`] in the others, if the file cannot be written.
    pub fn save<E: Float, P: Parameters<E> + ?Sized>(
        &self,
        parameters: &P,
        path: impl AsRef<Path>,
    ) -> Result<(), Error> {
        let saved = if self.is_first() { safetensors::save(parameters, path) } else { Ok(()) };
        self.agree(saved.map(|()| []).map_err(Error::Own), [])
    }

    /// Reads parameters from a file, as [`safetensors::load`] does. Rank 0 reads and sends them to the others, whose
    /// machines need not have the file.
    ///
    /// # Errors
    /// - [`Error::Own`] in rank 0 and [`Error::Other`] in the others, if the file cannot be read.
    /// - [`Error::Differ`] if names or shapes of a process differ.
    pub fn load<E: Float + Equivalence, P: ParametersMut<E> + ?Sized>(
        &self,
        parameters: &mut P,
        path: impl AsRef<Path>,
    ) -> Result<(), Error> {
        let loaded = if self.is_first() { safetensors::load(parameters, path) } else { Ok(()) };
        self.agree(loaded.map(|()| []).map_err(Error::Own), [])?;
        self.broadcast(parameters)
    }

    /// Sends rank 0's parameters to the other processes.
    ///
    /// # Errors
    /// [`Error::Differ`] if names or shapes of a process differ.
    pub fn broadcast<E: Float + Equivalence, P: ParametersMut<E> + ?Sized>(
        &self,
        parameters: &mut P,
    ) -> Result<(), Error> {
        self.agree(Ok([layout(parameters)]), ["the names and shapes of the parameters"])?;
        let first = self.communicator.process_at_rank(0);
        parameters.visit_parameters_mut(&mut |_, mut array| {
            let mut numbers: Vec<E> = array.iter().copied().collect();
            for part in numbers.chunks_mut(MESSAGE) {
                first.broadcast_into(part);
            }
            array.iter_mut().zip(numbers).for_each(|(to, from)| *to = from);
        });
        Ok(())
    }

    /// Whether `truth` holds in rank 0, in every process: whether a file exists, for example.
    #[must_use]
    pub fn first_says(&self, truth: bool) -> bool {
        let mut said = [u64::from(truth)];
        self.communicator.process_at_rank(0).broadcast_into(&mut said[..]);
        said[0] != 0
    }

    /// Tells every process whether all have succeeded so far, and whether they have the same numbers. No process returns
    /// an error without the others.
    pub(crate) fn agree<const N: usize>(&self, own: Result<[u64; N], Error>, names: [&str; N]) -> Result<(), Error> {
        let mut report = vec![u64::from(own.is_err())];
        report.extend(own.as_ref().map_or([0; N], |numbers| *numbers));
        let mut reports = vec![0_u64; report.len() * self.size()];
        self.communicator.all_gather_into(&report[..], &mut reports[..]);
        own?;
        let of_ranks = || reports.chunks_exact(report.len()).enumerate();
        if let Some((rank, _)) = of_ranks().find(|(_, report)| report[0] != 0) {
            return Err(Error::Other { rank });
        }
        for (at, what) in (1..).zip(names) {
            if let Some((rank, _)) = of_ranks().find(|(_, report)| report[at] != reports[at]) {
                return Err(Error::Differ { what: what.into(), rank });
            }
        }
        Ok(())
    }
}
