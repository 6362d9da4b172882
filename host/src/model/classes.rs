use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Values counted in classes, each with an upper bound. Whoever counts waits for nobody.
#[derive(Debug)]
pub struct Classes {
    bounds: &'static [u64],
    /// One more than there are bounds: the last class has none.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// The counts at one moment. Values that are counted meanwhile may be in some of them and not yet in others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassCounts {
    /// Upper bounds, rising, the last [`u64::MAX`], each with the values in its class.
    pub classes: Vec<(u64, u64)>,
    /// All values together.
    pub sum: u64,
}

impl ClassCounts {
    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.classes.iter().map(|(_, count)| count).sum()
    }
}

impl Classes {
    /// Classes with these upper bounds, which rise.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Counts a value in the first class whose bound it does not pass.
    pub fn add(&self, value: u64) {
        if let Some(class) = self.counts.get(self.bounds.partition_point(|bound| *bound < value)) {
            class.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> ClassCounts {
        let bounds = self.bounds.iter().copied().chain([u64::MAX]);
        let classes = bounds.zip(&self.counts).map(|(bound, count)| (bound, count.load(Relaxed))).collect();
        ClassCounts { classes, sum: self.sum.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_in_one_class_and_a_bound_belongs_to_the_class_below_it() {
        let classes = Classes::new(&[10, 100]);
        for value in [0, 10, 11, 100, 101, 5_000] {
            classes.add(value);
        }
        let counts = classes.counts();
        assert_eq!(counts.classes, [(10, 2), (100, 2), (u64::MAX, 2)]);
        assert_eq!((counts.count(), counts.sum), (6, 5_222));
    }
}
