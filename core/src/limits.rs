//! Every limit of the library, as a named constant. An error about a limit names the value and the limit.

use std::time::Duration;

/// The longest body a store accepts unless [`StoreOptions::body_bytes_max`](crate::StoreOptions::body_bytes_max) says otherwise.
pub const BODY_BYTES_MAX_DEFAULT: usize = 1 << 20;
/// The highest value that [`StoreOptions::body_bytes_max`](crate::StoreOptions::body_bytes_max) takes.
pub const BODY_BYTES_MAX: usize = 256 << 20;
/// The longest deduplication key or ordering key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 512;
/// The longest name of a queue, a subscription, a ledger or an effect, and the longest key of an effect, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 512;
/// The most that the headers of one message take: names and values together, in bytes.
pub const HEADERS_BYTES_MAX: usize = 64 << 10;
/// The longest reason, error text, evidence or actor that is kept, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 4 << 10;
/// The longest result of an effect that is kept, in bytes.
pub const RESULT_BYTES_MAX: usize = 1 << 20;
/// The shortest lease.
pub const LEASE_MIN: Duration = Duration::from_millis(1);
/// The longest lease.
pub const LEASE_MAX: Duration = Duration::from_secs(12 * 3600);
/// The longest delay, time to live, settle delay, or window that is not "for ever": ten years.
pub const DELAY_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// The last priority; 0 is taken first.
pub const PRIORITY_MAX: u8 = 9;
/// The priority of a message that names none: in the middle, so that there is room on both sides.
pub const PRIORITY_DEFAULT: u8 = 4;
/// The most messages in one `send_many`.
pub const SEND_MESSAGES_MAX: usize = 10_000;
/// The most bytes of bodies in one `send_many`, unless a single body is longer.
pub const SEND_BYTES_MAX: usize = 256 << 20;
/// The most messages one `receive` hands over.
pub const RECEIVE_MESSAGES_MAX: usize = 10_000;
/// One `receive` stops adding messages when their bodies reach this many bytes (it always hands over at least one).
pub const RECEIVE_BYTES_MAX: usize = 64 << 20;
/// The most receipts in one settling call.
pub const SETTLE_RECEIPTS_MAX: usize = 10_000;
/// The most rows one listing call (peek, dead letters, in doubt, resolutions) returns.
pub const LIST_MAX: usize = 10_000;
/// The longest wait of one `receive`.
pub const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// The highest attempts limit of a queue.
pub const ATTEMPTS_MAX: u32 = 1_000_000;
/// Subscriptions of one queue.
pub const SUBSCRIPTIONS_MAX: usize = 1_000;
/// Lanes of one file: a lane is one priority of one queue, or the continuation of a full one (15 bits of an id).
pub const LANES_MAX: u64 = (1 << 15) - 1;
/// Sequence numbers of one lane (38 bits of an id).
pub const LANE_SEQUENCE_MAX: u64 = (1 << 38) - 1;
/// Stores that may have one file open at the same time, in all processes together.
pub const STORES_MAX: usize = 1024;

// An id packs a lane and a sequence number and stays exact in every language's double precision numbers.
const _: () = assert!((LANES_MAX << 38) + LANE_SEQUENCE_MAX < 1 << 53);
const _: () = assert!(BODY_BYTES_MAX_DEFAULT <= BODY_BYTES_MAX && PRIORITY_DEFAULT <= PRIORITY_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_limits_have_not_moved() {
        assert_eq!(BODY_BYTES_MAX_DEFAULT, 1_048_576);
        assert_eq!((BODY_BYTES_MAX, RESULT_BYTES_MAX), (268_435_456, 1_048_576));
        assert_eq!((KEY_BYTES_MAX, NAME_BYTES_MAX, HEADERS_BYTES_MAX), (512, 512, 65_536));
        assert_eq!((LEASE_MIN.as_millis(), LEASE_MAX.as_secs()), (1, 43_200));
        assert_eq!(DELAY_MAX.as_secs() / (366 * 24 * 3600), 10);
        assert_eq!((PRIORITY_DEFAULT, PRIORITY_MAX), (4, 9));
    }
}
