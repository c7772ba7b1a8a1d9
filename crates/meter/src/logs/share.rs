//! Who loses lines when all logs together are too large: those with most, down to a common level
//! (max-min fairness). A function below the level loses nothing, whatever the others write.

/// The highest level such that all sizes, cut to it, sum up to at most `goal`.
pub(super) fn level(mut sizes: Vec<usize>, goal: usize) -> usize {
    sizes.sort_unstable();
    let mut left = goal;
    let n = sizes.len();
    for (index, size) in sizes.into_iter().enumerate() {
        let n_left = n - index;
        let level = left / n_left;
        if size > level {
            return level;
        }
        left -= size;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_lose_first() {
        assert_eq!(level(vec![10, 100, 1000], 1110), usize::MAX);
        assert_eq!(level(vec![10, 100, 1000], 610), 500);
        assert_eq!(level(vec![10, 100, 1000], 110), 50);
        assert_eq!(level(vec![10, 100, 1000], 3), 1);
        assert_eq!(level(vec![], 0), usize::MAX);
    }

    proptest! {
        #[test]
        fn the_level_is_the_highest_that_fits(
            sizes in proptest::collection::vec(0_usize..1000, 0..20),
            goal in 0_usize..10_000,
        ) {
            let sum = |level: usize| sizes.iter().map(|size| *size.min(&level)).sum::<usize>();
            let level = level(sizes.clone(), goal);
            prop_assert!(sum(level) <= goal);
            prop_assert!(level == usize::MAX || sum(level + 1) > goal);
        }
    }
}
