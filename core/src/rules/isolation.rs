//! How a batch whose holder was lost is offered again: in ever smaller pieces, so that one poison message cannot drag its
//! neighbours to the dead letters.

/// How many messages of a lost interval of `size` are offered together next, when `attempts_left` deliveries remain
/// (`None`: without limit). At the last delivery every message stands alone, so that only the poison itself can fail it.
pub(crate) fn piece(size: i64, attempts_left: Option<u32>) -> i64 {
    match attempts_left {
        None => (size + 1) / 2,
        Some(0 | 1) => 1,
        Some(left) => {
            let parts = (2..=size.max(2)).find(|parts| reaches(*parts, left, size)).unwrap_or(size);
            (size + parts - 1) / parts
        }
    }
    .clamp(1, size.max(1))
}

/// Whether `parts` to the power of `left` is at least `size`.
fn reaches(parts: i64, left: u32, size: i64) -> bool {
    let mut product: i64 = 1;
    for _ in 0..left {
        product = product.saturating_mul(parts);
        if product >= size {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_batch_of_a_hundred_shrinks_to_one_within_five_attempts() {
        let mut sizes = vec![100];
        for left in (1..=4).rev() {
            sizes.push(piece(sizes[sizes.len() - 1], Some(left)));
        }
        assert_eq!(sizes, [100, 25, 9, 3, 1]);
    }

    proptest! {
        #[test]
        fn whatever_the_limit_the_last_delivery_is_alone(size in 1i64..20_000, attempts_max in 2u32..40) {
            let mut now = size;
            for left in (1..attempts_max).rev() {
                let next = piece(now, Some(left));
                prop_assert!((1..=now).contains(&next));
                now = next;
            }
            prop_assert_eq!(now, 1);
        }

        #[test]
        fn without_a_limit_it_halves(size in 1i64..20_000) {
            let mut now = size;
            for _ in 0..16 {
                now = piece(now, None);
            }
            prop_assert_eq!(now, 1);
        }
    }
}
