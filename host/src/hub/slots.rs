/// A client's place in a shard. The generation tells it from whoever had the slot before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) slot: usize,
    generation: u64,
}

/// Which slots are taken, and by which generation.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Odd while the slot is taken.
    generations: Vec<u64>,
    free: Vec<usize>,
}

impl Slots {
    /// A slot that nobody has.
    pub(super) fn take(&mut self) -> Key {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            self.generations.len() - 1
        });
        let generation = self.generations.get_mut(slot).map_or(1, |generation| {
            *generation += 1;
            *generation
        });
        Key { slot, generation }
    }

    /// Gives a slot back. False, and without effect, if that client had left it before.
    pub(super) fn give_back(&mut self, key: Key) -> bool {
        match self.generations.get_mut(key.slot) {
            Some(generation) if *generation == key.generation => {
                *generation += 1;
                self.free.push(key.slot);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Slots that are taken.
    pub(super) fn taken(&self) -> usize {
        self.generations.len() - self.free.len()
    }
}
