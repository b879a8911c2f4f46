//! QEMU's educational device as a bus master: what it moves passes through its buffer.

use super::engine::{Engine, EngineError};
use super::own_pages::OwnPages;
use std::fmt;
use vcm::Iova;
use vcm_devices::edu::spec;
use vcm_devices::{Direction, Edu, EduCompletion, EduDma, EduError};
use vcm_iommu::Registers;
use vcm_platform::Run;

/// The device. Each of its DMAs takes a tenth of a second, and its failure is not told.
pub(super) struct EduEngine<R> {
    edu: Edu<R>,
}

impl<R> fmt::Debug for EduEngine<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EduEngine").finish_non_exhaustive()
    }
}

impl<R: Registers> EduEngine<R> {
    pub(super) const fn new(edu: Edu<R>) -> Self {
        Self { edu }
    }

    fn copy(&mut self, from: Iova, to: Iova, len: u64) -> Result<(), EngineError> {
        let at = |start: Iova, done: u64| Iova::new(start.raw().wrapping_add(done));
        for done in (0..len).step_by(spec::BUFFER_LEN as usize) {
            let len = (len - done).min(spec::BUFFER_LEN);
            let dma = |memory, direction| EduDma { memory, offset: 0, len, direction };
            self.edu.run(&dma(at(from, done), Direction::ToDevice)).map_err(told)?;
            self.edu.run(&dma(at(to, done), Direction::FromDevice)).map_err(told)?;
        }
        Ok(())
    }
}

fn told(error: EduError) -> EngineError {
    EngineError::Broken(error.to_string())
}

impl<R: Registers + Send> Engine for EduEngine<R> {
    fn unit(&self) -> u64 {
        1
    }

    fn fetch(&mut self, own: &OwnPages, place: u64, from: Run) -> Result<(), EngineError> {
        self.copy(Iova::new(from.address), own.data(place), from.len)
    }

    fn store(&mut self, own: &OwnPages, place: u64, to: Run) -> Result<(), EngineError> {
        self.copy(own.data(place), Iova::new(to.address), to.len)
    }

    fn tell_end(&mut self, own: &OwnPages) -> Result<bool, EngineError> {
        // The last byte once more.
        let dma = EduDma { memory: own.data(0), offset: 0, len: 1, direction: Direction::ToDevice };
        self.edu.start(&dma, EduCompletion::Interrupt).map_err(told)?;
        // Whoever has the interrupt takes it; the next transfer only has to find the engine free.
        self.edu.wait().map_err(told)?;
        Ok(true)
    }

    fn stop(&mut self) {}
}
