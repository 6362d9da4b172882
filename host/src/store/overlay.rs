use redb::{BackendError, StorageBackend};
use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

const BLOCK: usize = 4_096;

/// A file that can be read and never changes: what the engine writes, as when it mends a file that was not closed
/// properly, stays in memory above it.
///
/// The engine's own way to open without writing refuses such files, which are the ones we want to read.
#[derive(Debug)]
pub(super) struct Overlay<B> {
    below: B,
    above: Mutex<Above>,
}

#[derive(Debug)]
struct Above {
    /// Length as the engine sees it.
    len: u64,
    /// Bytes of the file below that still show. Less than its length once it was cut.
    base_len: u64,
    /// Whole blocks that were written, by number.
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl<B: StorageBackend> Overlay<B> {
    pub(super) fn new(below: B) -> io::Result<Self> {
        let len = below.len()?;
        Ok(Self { below, above: Mutex::new(Above { len, base_len: len, blocks: BTreeMap::new() }) })
    }

    fn lock(&self) -> MutexGuard<'_, Above> {
        self.above.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as the engine sees it, zeros where there is nothing.
    fn block(&self, above: &Above, number: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = above.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK];
        let start = number.saturating_mul(BLOCK as u64);
        let there = usize::try_from(above.base_len.saturating_sub(start)).unwrap_or(BLOCK).min(BLOCK);
        if let Some(part) = block.get_mut(..there).filter(|part| !part.is_empty()) {
            self.below.read(start, part)?;
        }
        Ok(block)
    }

    /// Runs `step` on each block that a range of `len` bytes touches: number, where in the block, where in the range.
    fn each_block(
        offset: u64,
        len: usize,
        mut step: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (mut number, mut from) = (offset / BLOCK as u64, usize::try_from(offset % BLOCK as u64).unwrap_or(0));
        let mut done = 0;
        while done < len {
            let size = (BLOCK - from).min(len - done);
            step(number, from..from + size, done..done + size)?;
            (number, from, done) = (number + 1, 0, done + size);
        }
        Ok(())
    }
}

impl<B: StorageBackend> StorageBackend for Overlay<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let above = self.lock();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > above.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::each_block(offset, out.len(), |number, inside, outside| {
            let block = self.block(&above, number)?;
            if let (Some(to), Some(from)) = (out.get_mut(outside), block.get(inside)) {
                to.copy_from_slice(from);
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut above = self.lock();
        if len < above.len {
            // What is cut off must come back as zeros, also inside the block at the cut.
            let (number, kept) = (len / BLOCK as u64, usize::try_from(len % BLOCK as u64).unwrap_or(0));
            let mut last = self.block(&above, number)?;
            last.iter_mut().skip(kept).for_each(|byte| *byte = 0);
            above.base_len = above.base_len.min(len);
            above.blocks.split_off(&number);
            above.blocks.insert(number, last);
        }
        above.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut above = self.lock();
        Self::each_block(offset, data.len(), |number, inside, outside| {
            let mut block = self.block(&above, number)?;
            if let (Some(to), Some(from)) = (block.get_mut(inside), data.get(outside)) {
                to.copy_from_slice(from);
            }
            above.blocks.insert(number, block);
            Ok(())
        })
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.below.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.below.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.below.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..14_000_u64, proptest::collection::vec(any::<u8>(), 0..6_000))
                .prop_map(|(at, data)| Step::Write(at, data)),
            (0..20_000_u64).prop_map(Step::SetLen),
        ];
        proptest::collection::vec(step, 0..12)
    }

    proptest! {
        #[test]
        fn behaves_like_a_plain_file_and_leaves_the_one_below_alone(
            original in proptest::collection::vec(any::<u8>(), 1..12_000),
            steps in steps(),
        ) {
            let below = InMemoryBackend::new();
            below.set_len(original.len() as u64).unwrap();
            below.write(0, &original).unwrap();
            let overlay = Overlay::new(below).unwrap();
            let mut twin = original.clone();
            for step in steps {
                match step {
                    Step::Write(at, data) => {
                        // The engine writes inside the file alone.
                        let at = usize::try_from(at).unwrap();
                        if at + data.len() <= twin.len() {
                            overlay.write(at as u64, &data).unwrap();
                            twin[at..at + data.len()].copy_from_slice(&data);
                        }
                    }
                    Step::SetLen(len) => {
                        overlay.set_len(len).unwrap();
                        twin.resize(usize::try_from(len).unwrap(), 0);
                    }
                }
                let mut seen = vec![0; twin.len()];
                overlay.read(0, &mut seen).unwrap();
                prop_assert!(seen == twin);
                prop_assert_eq!(overlay.len().unwrap(), twin.len() as u64);
            }
            prop_assert!(overlay.read(twin.len() as u64, &mut [0]).is_err());
            let mut left = vec![0; original.len()];
            overlay.below.read(0, &mut left).unwrap();
            prop_assert!(left == original);
        }
    }
}
