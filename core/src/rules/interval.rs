//! Half-open intervals of message ids within one lane, and the arithmetic on them.

/// The ids `lo..hi`. Never empty where it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Interval {
    pub(crate) lo: i64,
    pub(crate) hi: i64,
}

impl Interval {
    pub(crate) const fn new(lo: i64, hi: i64) -> Self {
        Interval { lo, hi }
    }

    pub(crate) const fn one(id: i64) -> Self {
        Interval { lo: id, hi: id + 1 }
    }

    pub(crate) const fn len(self) -> i64 {
        self.hi - self.lo
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.lo >= self.hi
    }

    pub(crate) const fn contains(self, id: i64) -> bool {
        self.lo <= id && id < self.hi
    }

    /// What both cover; empty when they are apart.
    pub(crate) fn intersect(self, other: Interval) -> Interval {
        Interval { lo: self.lo.max(other.lo), hi: self.hi.min(other.hi) }
    }

    /// What is left on either side when `part` is taken out.
    pub(crate) fn without(self, part: Interval) -> (Option<Interval>, Option<Interval>) {
        let before = Interval { lo: self.lo, hi: self.hi.min(part.lo) };
        let after = Interval { lo: self.lo.max(part.hi), hi: self.hi };
        ((!before.is_empty()).then_some(before), (!after.is_empty()).then_some(after))
    }
}

/// The shortest list of intervals that covers exactly `ids`, which must be sorted; repeats count once.
pub(crate) fn runs(ids: impl IntoIterator<Item = i64>) -> Vec<Interval> {
    let mut out: Vec<Interval> = Vec::new();
    for id in ids {
        match out.last_mut() {
            Some(last) if last.contains(id) => {}
            Some(last) if last.hi == id => last.hi += 1,
            _ => out.push(Interval::one(id)),
        }
    }
    out
}

/// `whole` less every one of `holes`, which may overlap, touch, stick out, and come in any order.
pub(crate) fn subtract(whole: Interval, mut holes: Vec<Interval>) -> Vec<Interval> {
    holes.sort_unstable();
    let mut out = Vec::new();
    let mut at = whole.lo;
    for hole in holes {
        let hole = hole.intersect(whole);
        if hole.is_empty() {
            continue;
        }
        if at < hole.lo {
            out.push(Interval::new(at, hole.lo));
        }
        at = at.max(hole.hi);
    }
    if at < whole.hi {
        out.push(Interval::new(at, whole.hi));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn interval() -> impl Strategy<Value = Interval> {
        (0i64..60, 0i64..20).prop_map(|(lo, len)| Interval::new(lo, lo + len))
    }

    fn members(intervals: &[Interval]) -> BTreeSet<i64> {
        intervals.iter().flat_map(|i| i.lo..i.hi).collect()
    }

    proptest! {
        #[test]
        fn runs_cover_exactly_the_ids_and_never_touch(ids in proptest::collection::btree_set(0i64..80, 0..40)) {
            let runs = runs(ids.iter().copied());
            prop_assert_eq!(members(&runs), ids);
            prop_assert!(runs.windows(2).all(|pair| pair[0].hi < pair[1].lo));
        }

        #[test]
        fn subtraction_agrees_with_sets(whole in interval(), holes in proptest::collection::vec(interval(), 0..8)) {
            let rest = subtract(whole, holes.clone());
            let expected: BTreeSet<i64> = members(&[whole]).difference(&members(&holes)).copied().collect();
            prop_assert_eq!(members(&rest), expected);
            prop_assert!(rest.iter().all(|i| !i.is_empty()));
            prop_assert!(rest.windows(2).all(|pair| pair[0].hi < pair[1].lo));
        }

        #[test]
        fn taking_a_part_out_leaves_exactly_the_rest(whole in interval(), part in interval()) {
            let (before, after) = whole.without(part);
            let rest: Vec<Interval> = before.into_iter().chain(after).collect();
            let expected: BTreeSet<i64> = members(&[whole]).difference(&members(&[part])).copied().collect();
            prop_assert_eq!(members(&rest), expected);
        }
    }
}
