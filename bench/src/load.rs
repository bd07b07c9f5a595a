//! The messages that are sent, and the tally of those that came back.

use crate::measure::{Outcome, verify};

/// The length of every body that is measured.
pub(crate) const BODY_BYTES: usize = 100;
const PASSES: u64 = 4;

/// The body with this number: 100 bytes, the number first, the rest derived from it.
pub(crate) fn body(number: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BODY_BYTES);
    bytes.extend_from_slice(&number.to_le_bytes());
    let mut word = number;
    while bytes.len() < BODY_BYTES {
        word = mix(word);
        let part = word.to_le_bytes();
        let room = BODY_BYTES - bytes.len();
        bytes.extend_from_slice(&part[..room.min(8)]);
    }
    bytes
}

/// The bodies numbered from `first` on, in batches.
pub(crate) fn batches(first: u64, count: usize, batch: usize) -> Vec<Vec<Vec<u8>>> {
    let numbers: Vec<u64> = (first..first + count as u64).collect();
    numbers.chunks(batch).map(|chunk| chunk.iter().copied().map(body).collect()).collect()
}

/// A key that looks random, as a UUID does: each lands somewhere else in an index.
pub(crate) fn random_key(number: u64) -> String {
    uuid(mix(number), mix(!number))
}

/// The key with this number of `count` that are spread over the same range as random ones. They come in four passes, each
/// in ascending order: an index fills with them many times faster than at random, and its pages end as unevenly full.
pub(crate) fn spread_key(number: u64, count: u64) -> String {
    let pass_length = count.div_ceil(PASSES);
    let place = number % pass_length * PASSES + number / pass_length;
    uuid(place * (u64::MAX / (pass_length * PASSES)), mix(!number))
}

fn uuid(high: u64, low: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high >> 4 & 0xfff,
        low >> 48 & 0xfff,
        low & 0xffff_ffff_ffff
    )
}

/// A key that follows the one before, as an order number does.
pub(crate) fn sequential_key(number: u64) -> String {
    format!("order-{number:012}")
}

/// The finisher of the splitmix64 generator: scatters consecutive numbers.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What was received: how many, and the sum of their numbers. Equal tallies mean that nothing was lost or repeated
/// (short of losses and repeats that cancel out).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

impl Tally {
    /// The tally of the bodies numbered from `first` on.
    pub(crate) fn of(first: u64, count: u64) -> Self {
        let sum = (first..first + count).fold(0u64, u64::wrapping_add);
        Tally { count, sum }
    }

    /// Counts one body, which must be one of ours.
    pub(crate) fn add(&mut self, body: &[u8]) -> Outcome<()> {
        let words = body.first_chunk::<16>().filter(|_| body.len() == BODY_BYTES);
        let (number, check) = words.map_or((0, 0), |words| {
            let (number, check) = words.split_at(8);
            (read_u64(number), read_u64(check))
        });
        verify(words.is_some() && check == mix(number), || format!("a body of {} bytes is none we sent", body.len()))?;
        self.count += 1;
        self.sum = self.sum.wrapping_add(number);
        Ok(())
    }

    /// The two tallies together.
    pub(crate) fn and(self, other: Tally) -> Self {
        Tally { count: self.count + other.count, sum: self.sum.wrapping_add(other.sum) }
    }

    /// Fails unless this is what was sent.
    pub(crate) fn verify(self, sent: Tally) -> Outcome<()> {
        verify(self == sent, || format!("received {self:?}, but sent {sent:?}"))
    }
}

/// The little-endian number in the first eight bytes; 0 when there are fewer.
pub(crate) fn read_u64(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_notices_a_lost_a_repeated_and_a_foreign_body() {
        let sent = Tally::of(10, 3);
        let mut received = Tally::default();
        for number in [11, 10] {
            received.add(&body(number)).expect("one of ours");
        }
        assert!(received.verify(sent).is_err());
        let mut repeated = received;
        repeated.add(&body(10)).expect("one of ours");
        assert!(repeated.verify(sent).is_err());
        received.add(&body(12)).expect("one of ours");
        received.verify(sent).expect("complete");
        assert!(received.add(&[0; BODY_BYTES]).is_err());
        assert!(received.add(b"short").is_err());
    }

    #[test]
    fn random_keys_look_like_uuids_and_differ() {
        let keys: std::collections::BTreeSet<String> = (0..1000).map(random_key).collect();
        assert_eq!(keys.len(), 1000);
        assert!(keys.iter().all(|key| key.len() == 36));
    }

    #[test]
    fn spread_keys_ascend_in_each_pass_and_differ() {
        let keys: Vec<String> = (0..1001).map(|number| spread_key(number, 1001)).collect();
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 1001);
        assert!(keys.chunks(251).all(<[String]>::is_sorted));
        assert!(keys[250].starts_with("fe") || keys[250].starts_with("ff"), "{}", keys[250]);
    }
}
