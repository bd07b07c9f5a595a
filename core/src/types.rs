//! The small values everything else is made of: ids, tokens, receipts, times, names. Parsed at construction.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::limits::{KEY_BYTES_MAX, LANE_SEQUENCE_MAX, LANES_MAX, NAME_BYTES_MAX};

const SEQUENCE_BITS: u32 = 38;

/// The id of a message: unique in its file, for ever, below 2^53 so that every language holds it exactly.
///
/// Ids grow in commit order within one priority of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

impl MessageId {
    /// Checks that `value` can be an id.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when no message can have that id.
    pub fn new(value: u64) -> Result<Self> {
        let id = MessageId(value);
        if id.lane() == 0 || id.lane() > LANES_MAX || id.sequence() == 0 {
            return Err(Error::invalid(format!("{value} is not a message id")));
        }
        Ok(id)
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_stored(value: i64) -> Self {
        MessageId(value as u64)
    }

    pub(crate) const fn stored(self) -> i64 {
        self.0 as i64
    }

    pub(crate) const fn first_of(lane: u64) -> Self {
        MessageId(lane << SEQUENCE_BITS | 1)
    }

    pub(crate) const fn lane(self) -> u64 {
        self.0 >> SEQUENCE_BITS
    }

    pub(crate) const fn sequence(self) -> u64 {
        self.0 & LANE_SEQUENCE_MAX
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The fencing token of one delivery. Tokens strictly increase per message and subscription; a settle succeeds only with
/// the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    /// A token with this number.
    pub const fn new(value: u64) -> Self {
        Token(value)
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_stored(value: i64) -> Self {
        Token(value as u64)
    }

    pub(crate) const fn stored(self) -> i64 {
        self.0 as i64
    }
}

/// What a consumer shows to settle a delivery: the message, and the token it was given with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt {
    /// The message.
    pub message: MessageId,
    /// The fencing token of this delivery of it.
    pub token: Token,
}

/// A point in time: milliseconds since the Unix epoch. Clocks decide only *when* something is offered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(i64);

impl Millis {
    /// The time `value` milliseconds after the Unix epoch.
    pub const fn new(value: i64) -> Self {
        Millis(value)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// This time and `duration` more, rounded up to a whole millisecond.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Millis(self.0.saturating_add(duration_ms(duration)))
    }

    /// The time from `earlier` to this, zero when it is not earlier.
    pub fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Millis {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Millis(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => Millis(-i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

/// Whole milliseconds of a duration, rounded up, so that nothing is offered before its time.
pub(crate) fn duration_ms(duration: Duration) -> i64 {
    let seconds_ms = i64::try_from(duration.as_secs()).ok().and_then(|seconds| seconds.checked_mul(1000));
    let rest_ms = i64::from(duration.subsec_nanos().div_ceil(1_000_000));
    seconds_ms.and_then(|ms| ms.checked_add(rest_ms)).unwrap_or(i64::MAX)
}

/// Checks a name: of a queue, a subscription, a ledger, an effect or a header.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    check_text(what, name, NAME_BYTES_MAX)
}

/// Checks a deduplication key or an ordering key.
pub(crate) fn check_key(what: &str, key: &str) -> Result<()> {
    check_text(what, key, KEY_BYTES_MAX)
}

fn check_text(what: &str, text: &str, bytes_max: usize) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(format!("{what} is empty; it takes 1 to {bytes_max} bytes")));
    }
    if text.len() > bytes_max {
        return Err(Error::invalid(format!("{what} is {} bytes; the limit is {bytes_max}", text.len())));
    }
    if text.contains('\0') {
        return Err(Error::invalid(format!("{what} {text:?} holds a NUL character")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_packs_its_lane_and_its_sequence_number() {
        let id = MessageId::new(3 << 38 | 7).expect("a valid id");
        assert_eq!((id.lane(), id.sequence()), (3, 7));
        assert_eq!(MessageId::from_stored(id.stored()), id);
    }

    #[test]
    fn numbers_that_no_message_can_have_are_refused_with_their_value() {
        for value in [0, 7, 3 << 38, u64::MAX, (LANES_MAX + 1) << 38 | 1] {
            let error = MessageId::new(value).expect_err("no such id");
            assert!(error.message().contains(&value.to_string()), "{error}");
        }
    }

    #[test]
    fn durations_round_up_so_that_nothing_comes_early() {
        assert_eq!(duration_ms(Duration::from_nanos(1)), 1);
        assert_eq!(duration_ms(Duration::from_millis(5)), 5);
        assert_eq!(duration_ms(Duration::new(7, 999_000_001)), 8000);
        assert_eq!(duration_ms(Duration::from_millis(i64::MAX as u64)), i64::MAX);
        assert_eq!(duration_ms(Duration::MAX), i64::MAX);
    }
}
