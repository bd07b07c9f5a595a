//! Settling many deliveries in one commit, by their receipts.

use std::ffi::c_char;

use onceward::{MessageId, Receipt, Subscription, Token};

use crate::border::{self, Place, Places};
use crate::delivery::nack;
use crate::handles;
use crate::status::{ONCEWARD_OK, ONCEWARD_SOME_LOST, Outcome, guard};
use crate::subscription::onceward_subscription;

/// What a receiver shows to settle a delivery: the message, and the token it was given with it. Both are in the view.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_receipt {
    /// The message's id.
    pub message: u64,
    /// The fencing token of this delivery of it.
    pub token: u64,
}

impl onceward_receipt {
    pub(crate) fn of(receipt: Receipt) -> Self {
        onceward_receipt { message: receipt.message.get(), token: receipt.token.get() }
    }
}

/// # Safety
/// `receipts` points to `count` receipts.
pub(crate) unsafe fn read(receipts: *const onceward_receipt, count: usize) -> Outcome<Vec<Receipt>> {
    // SAFETY: the caller's.
    let receipts = unsafe { border::items("receipts", receipts, count) }?;
    let receipt = |receipt: &onceward_receipt| {
        Ok(Receipt { message: MessageId::new(receipt.message)?, token: Token::new(receipt.token) })
    };
    receipts.iter().map(receipt).collect()
}

/// What all the calls below share: the receipts in, those lost out.
#[derive(Clone, Copy)]
struct Many {
    subscription: *const onceward_subscription,
    receipts: *const onceward_receipt,
    count: usize,
    lost: *mut onceward_receipt,
    lost_count: *mut usize,
}

impl Many {
    /// # Safety
    /// The pointers are as the header asks.
    unsafe fn settle(self, call: impl FnOnce(&Subscription, &[Receipt]) -> Outcome<Vec<Receipt>>) -> i32 {
        guard(|| {
            // SAFETY: the caller's.
            let (places, lost_count, receipts) = unsafe {
                (
                    border::or_nowhere(self.lost, |lost| Places::new("lost", lost, self.count))?,
                    border::or_nowhere(self.lost_count, |lost_count| Place::new("lost_count", lost_count))?,
                    read(self.receipts, self.count)?,
                )
            };
            if let Some(lost_count) = &lost_count {
                lost_count.set(0);
            }
            let handle = handles::get(self.subscription)?;
            let lost = call(&handle.subscription, &receipts)?;
            if lost.is_empty() {
                return Ok(ONCEWARD_OK);
            }
            if let Some(lost_count) = lost_count {
                lost_count.set(lost.len());
            }
            if let Some(places) = places {
                places.set(lost.into_iter().map(onceward_receipt::of));
            }
            Ok(ONCEWARD_SOME_LOST)
        })
    }
}

/// Acknowledges deliveries in one commit: each is done and never delivered again. At most 10,000.
///
/// ONCEWARD_SOME_LOST, which is no error of the call, when some had lost their lease: these are written to `lost`, which has room
/// for `count` receipts, and `*lost_count` says how many; both may be NULL. All others are done. The same call repeated gives the
/// same answer. ONCEWARD_INVALID for a message of another queue, or for too many; ONCEWARD_NOT_FOUND when the subscription was ended;
/// then nothing is settled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_ack(
    subscription: *const onceward_subscription,
    receipts: *const onceward_receipt,
    count: usize,
    lost: *mut onceward_receipt,
    lost_count: *mut usize,
) -> i32 {
    let many = Many { subscription, receipts, count, lost, lost_count };
    // SAFETY: as the header asks.
    unsafe { many.settle(|subscription, receipts| Ok(subscription.ack(receipts)?)) }
}

/// Gives deliveries back as failed, in one commit: as onceward_delivery_nack. `lost` and the statuses are as of
/// onceward_subscription_ack, and ONCEWARD_INVALID on an at-most-once queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_nack(
    subscription: *const onceward_subscription,
    receipts: *const onceward_receipt,
    count: usize,
    delay_ms: i64,
    error: *const c_char,
    lost: *mut onceward_receipt,
    lost_count: *mut usize,
) -> i32 {
    let many = Many { subscription, receipts, count, lost, lost_count };
    // SAFETY: as the header asks.
    unsafe { many.settle(|subscription, receipts| Ok(subscription.nack(receipts, &nack(delay_ms, error)?)?)) }
}

/// Dead-letters deliveries in one commit, with a reason of at most 4 KiB. `lost` and the statuses are as of
/// onceward_subscription_ack, and ONCEWARD_INVALID on an at-most-once queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_dead_letter(
    subscription: *const onceward_subscription,
    receipts: *const onceward_receipt,
    count: usize,
    reason: *const c_char,
    lost: *mut onceward_receipt,
    lost_count: *mut usize,
) -> i32 {
    let many = Many { subscription, receipts, count, lost, lost_count };
    // SAFETY: as the header asks.
    unsafe {
        many.settle(|subscription, receipts| {
            Ok(subscription.dead_letter(receipts, border::text("the reason", reason)?)?)
        })
    }
}

/// Gives deliveries back unused, in one commit: due at once, the attempt not counted. `lost` and the statuses are as of
/// onceward_subscription_ack, and ONCEWARD_INVALID on an at-most-once queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_release(
    subscription: *const onceward_subscription,
    receipts: *const onceward_receipt,
    count: usize,
    lost: *mut onceward_receipt,
    lost_count: *mut usize,
) -> i32 {
    let many = Many { subscription, receipts, count, lost, lost_count };
    // SAFETY: as the header asks.
    unsafe { many.settle(|subscription, receipts| Ok(subscription.release(receipts)?)) }
}

/// Makes the leases end `lease_ms` milliseconds from now, 1 to 43,200,000, in one commit. `lost` and the statuses are as of
/// onceward_subscription_ack, and ONCEWARD_INVALID on an at-most-once queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_extend(
    subscription: *const onceward_subscription,
    receipts: *const onceward_receipt,
    count: usize,
    lease_ms: i64,
    lost: *mut onceward_receipt,
    lost_count: *mut usize,
) -> i32 {
    let many = Many { subscription, receipts, count, lost, lost_count };
    let extend = |subscription: &Subscription, receipts: &[Receipt]| {
        Ok(subscription.extend(receipts, border::wait("lease_ms", lease_ms)?)?)
    };
    // SAFETY: as the header asks.
    unsafe { many.settle(extend) }
}
