//! A message in the hands of a receiver, and settling it.

use std::ffi::c_char;
use std::sync::Arc;

use onceward::{Delivery, Nack};

use crate::border::{self, Out, TextPlace, View};
use crate::handles::{self, Handle};
use crate::message::{Content, onceward_message_view};
use crate::status::{Failure, Outcome, run};
use crate::subscription::onceward_subscription;

/// Offers a message again after the queue's backoff.
pub const ONCEWARD_BACKOFF: i64 = -1;
/// Room for an idempotency key and its NUL.
pub const ONCEWARD_IDEMPOTENCY_KEY_SIZE: usize = 37;

/// A delivery and what is shown of its message. Cheap to clone; every clone is the same delivery.
#[derive(Clone)]
pub(crate) struct Received {
    shared: Arc<(Delivery, Content)>,
}

impl Received {
    pub(crate) fn new(mut delivery: Delivery) -> Self {
        let content = Content::of_delivery(&mut delivery);
        Received { shared: Arc::new((delivery, content)) }
    }

    pub(crate) fn delivery(&self) -> &Delivery {
        &self.shared.0
    }

    pub(crate) fn content(&self) -> &Content {
        &self.shared.1
    }
}

/// A message handed to this receiver, its own until the lease ends. Settle it in one of the ways below. Freeing it settles
/// nothing: the message is offered again when the lease has ended. A settle that failed with ONCEWARD_BUSY or ONCEWARD_FULL may be
/// repeated; one that succeeded is final, and another on the same delivery fails with ONCEWARD_INVALID. Of threads that settle it at
/// once, one succeeds. When the subscription was ended, settling fails with ONCEWARD_NOT_FOUND (an acknowledgement that a consumer notes,
/// when it is committed).
pub struct onceward_delivery {
    received: Received,
}

impl Handle for onceward_delivery {
    const KIND: &'static str = "onceward_delivery";
}

impl onceward_delivery {
    pub(crate) fn new(received: Received) -> Self {
        onceward_delivery { received }
    }

    pub(crate) fn delivery(&self) -> &Delivery {
        self.received.delivery()
    }
}

/// The message, into `*view`, whose pointers live as long as the handle. `view_size` is sizeof(onceward_message_view).
///
/// ONCEWARD_INVALID for a size out of range, and no other error: it looks at what is in memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_delivery_get(
    delivery: *const onceward_delivery,
    view: *mut onceward_message_view,
    view_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let view = unsafe { View::new("view", view, view_size) }?;
        view.set(handles::get(delivery)?.received.content().view());
        Ok(())
    })
}

/// Acknowledges: the message is done and never delivered again. On an exactly-once queue that is on disk when this returns.
///
/// ONCEWARD_LEASE_LOST when the message was meanwhile given to someone else or finished.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_delivery_ack(delivery: *const onceward_delivery) -> i32 {
    run(|| Ok(handles::get(delivery)?.delivery().ack()?))
}

/// Reads how a message is given back.
///
/// # Safety
/// `error` is NULL or a text.
pub(crate) unsafe fn nack(delay_ms: i64, error: *const c_char) -> Outcome<Nack> {
    let mut nack = Nack::new();
    if delay_ms != ONCEWARD_BACKOFF {
        nack = nack.delay(border::wait("delay_ms", delay_ms)?);
    }
    // SAFETY: the caller's.
    match unsafe { border::text_or_none("the error text", error) }? {
        Some(error) => Ok(nack.error(error)),
        None => Ok(nack),
    }
}

/// Gives the message back as failed: it is offered again after `delay_ms` milliseconds (at most ten years), or with
/// ONCEWARD_BACKOFF after the queue's backoff, or dead-lettered when its attempts are used up. `error`, at most 4 KiB, is kept with
/// it and shown with a dead letter; it may be NULL.
///
/// ONCEWARD_LEASE_LOST; ONCEWARD_INVALID on an at-most-once queue, or for a delay or text over its limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_delivery_nack(
    delivery: *const onceward_delivery,
    delay_ms: i64,
    error: *const c_char,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let nack = unsafe { nack(delay_ms, error) }?;
        Ok(handles::get(delivery)?.delivery().nack(&nack)?)
    })
}

/// Dead-letters the message at once, with a reason of at most 4 KiB.
///
/// ONCEWARD_LEASE_LOST; ONCEWARD_INVALID on an at-most-once queue, or for a reason over its limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_delivery_dead_letter(
    delivery: *const onceward_delivery,
    reason: *const c_char,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let reason = unsafe { border::text("the reason", reason) }?;
        Ok(handles::get(delivery)?.delivery().dead_letter(reason)?)
    })
}

/// Gives the message back unused: it is due at once, and this delivery does not count as an attempt.
///
/// ONCEWARD_LEASE_LOST; ONCEWARD_INVALID on an at-most-once queue.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_delivery_release(delivery: *const onceward_delivery) -> i32 {
    run(|| Ok(handles::get(delivery)?.delivery().release()?))
}

/// Makes the lease end `lease_ms` milliseconds from now, 1 to 43,200,000.
///
/// ONCEWARD_LEASE_LOST; ONCEWARD_INVALID on an at-most-once queue, for a lease out of range, and for a delivery that was settled.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_delivery_extend(delivery: *const onceward_delivery, lease_ms: i64) -> i32 {
    run(|| {
        let lease = border::wait("lease_ms", lease_ms)?;
        let handle = handles::get(delivery)?;
        let delivery = handle.delivery();
        if delivery.is_settled() {
            return Err(Failure::invalid(format!("this delivery of message {} was settled already", delivery.id())));
        }
        let lost = delivery.subscription().extend(&[delivery.receipt()], lease)?;
        if lost.is_empty() {
            return Ok(());
        }
        Err(Failure::new(
            onceward::ErrorKind::LeaseLost,
            format!("the lease of message {} was lost: it was given to someone else, or is finished", delivery.id()),
        ))
    })
}

/// Whether the delivery was settled through a handle of it: 1 when it was, by one of the calls above, by its transaction, or by
/// an effect that is in doubt; else 0, also for what is no living handle.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_delivery_is_settled(delivery: *const onceward_delivery) -> i32 {
    let mut settled = 0;
    run(|| {
        settled = handles::get(delivery)?.delivery().is_settled().into();
        Ok(())
    });
    settled
}

/// A key for third parties that recognise repetitions by one, into `key`, which has room for `key_size` bytes, at least
/// ONCEWARD_IDEMPOTENCY_KEY_SIZE: the same in every delivery of this message to its subscription, across retries, crashes and
/// redrives, and no other effect's. It has the form of a UUID. `name` is the effect's.
///
/// ONCEWARD_INVALID for a name out of its limits, or when there is too little room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_delivery_idempotency_key(
    delivery: *const onceward_delivery,
    name: *const c_char,
    key: *mut c_char,
    key_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (name, key) = unsafe { (border::text("the effect's name", name)?, TextPlace::new("key", key, key_size)?) };
        key.set(&handles::get(delivery)?.delivery().idempotency_key(name)?)
    })
}

/// The subscription that the delivery was received from, as a handle of its own: free `*subscription` with
/// onceward_subscription_free.
///
/// ONCEWARD_INVALID for what is no living handle, and no other error: whether the subscription still exists, its own calls say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_delivery_subscription(
    delivery: *const onceward_delivery,
    subscription: *mut *mut onceward_subscription,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new("subscription", subscription) }?;
        let subscription = handles::get(delivery)?.delivery().subscription().clone();
        handles::give(onceward_subscription { subscription }, &out);
        Ok(())
    })
}

/// Frees the handle; NULL is left alone. It settles nothing.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_delivery_free(delivery: *mut onceward_delivery) {
    handles::free(delivery);
}
