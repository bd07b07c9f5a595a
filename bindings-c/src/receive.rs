//! Receiving: one message, or a batch.

use onceward::{Delivery, ReceiveOptions};

use crate::border::{self, Options, Out, Places, View, at};
use crate::delivery::{Received, onceward_delivery};
use crate::handles::{self, Handle};
use crate::message::onceward_message_view;
use crate::settle::onceward_receipt;
use crate::status::{ONCEWARD_EMPTY, ONCEWARD_OK, Outcome, guard, run};
use crate::subscription::onceward_subscription;

/// How to receive. Set everything to zero, then size to sizeof(onceward_receive_options), then what you need.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_receive_options {
    /// sizeof(onceward_receive_options).
    pub size: usize,
    /// At most this many messages, 1 to 10,000, as one batch under one lease; 0 for 1.
    pub max: usize,
    /// How many milliseconds to wait for a first message, at most 24 h; 0 for not at all.
    pub wait_ms: i64,
    /// A lease other than the queue's, in milliseconds, 1 to 43,200,000; 0 for the queue's.
    pub lease_ms: i64,
}

impl Options for onceward_receive_options {
    const NAME: &'static str = "onceward_receive_options";

    fn unset() -> Self {
        onceward_receive_options { size: size_of::<Self>(), max: 0, wait_ms: 0, lease_ms: 0 }
    }
}

fn receive(subscription: *const onceward_subscription, given: &onceward_receive_options) -> Outcome<Vec<Delivery>> {
    let mut options = ReceiveOptions::new().wait(border::wait("wait_ms", given.wait_ms)?);
    if given.max != 0 {
        options = options.max(given.max);
    }
    if let Some(lease) = border::duration("lease_ms", given.lease_ms)? {
        options = options.lease(lease);
    }
    Ok(handles::get(subscription)?.subscription.receive_many(&options)?)
}

/// Receives one message, waiting up to `wait_ms` milliseconds for it (at most 24 h). It is yours alone until the queue's lease
/// ends: settle it, then free `*delivery` with onceward_delivery_free.
///
/// On an at-most-once queue the message is gone from the file, on disk, before this returns.
///
/// ONCEWARD_EMPTY, which is no error, when there was none: `*delivery` is NULL then. ONCEWARD_NOT_FOUND when the subscription was
/// ended; ONCEWARD_BUSY when others kept the store busy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_receive(
    subscription: *const onceward_subscription,
    wait_ms: i64,
    delivery: *mut *mut onceward_delivery,
) -> i32 {
    guard(|| {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new("delivery", delivery) }?;
        let options = onceward_receive_options { wait_ms, ..onceward_receive_options::unset() };
        let Some(delivery) = receive(subscription, &options)?.pop() else { return Ok(ONCEWARD_EMPTY) };
        handles::give(onceward_delivery::new(Received::new(delivery)), &out);
        Ok(ONCEWARD_OK)
    })
}

/// Messages that were received together, under one lease.
pub struct onceward_batch {
    received: Vec<Received>,
}

impl Handle for onceward_batch {
    const KIND: &'static str = "onceward_batch";
}

/// Receives up to options->max messages as one batch under one lease. Returns as soon as there is one. Settle them by their
/// receipts or through onceward_batch_delivery, then free `*batch` with onceward_batch_free. `options` may be NULL.
///
/// As onceward_subscription_receive, and ONCEWARD_INVALID for an option out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_receive_many(
    subscription: *const onceward_subscription,
    options: *const onceward_receive_options,
    batch: *mut *mut onceward_batch,
) -> i32 {
    guard(|| {
        // SAFETY: as the header asks.
        let (out, options) = unsafe { (Out::new("batch", batch)?, border::options(options)?) };
        let deliveries = receive(subscription, &options)?;
        if deliveries.is_empty() {
            return Ok(ONCEWARD_EMPTY);
        }
        handles::give(onceward_batch { received: deliveries.into_iter().map(Received::new).collect() }, &out);
        Ok(ONCEWARD_OK)
    })
}

/// How many messages the batch has; 0 for what is no living handle.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_batch_count(batch: *const onceward_batch) -> usize {
    let mut count = 0;
    run(|| {
        count = handles::get(batch)?.received.len();
        Ok(())
    });
    count
}

/// The message at `index`, counted from 0, into `*view`, whose pointers live as long as the batch. `view_size` is
/// sizeof(onceward_message_view). ONCEWARD_INVALID past the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_batch_get(
    batch: *const onceward_batch,
    index: usize,
    view: *mut onceward_message_view,
    view_size: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let view = unsafe { View::new("view", view, view_size) }?;
        view.set(at(&handles::get(batch)?.received, index)?.content().view());
        Ok(())
    })
}

/// The delivery at `index`, counted from 0, as a handle of its own: to settle it alone, or to begin a transaction or an effect.
/// Free `*delivery` with onceward_delivery_free; it may outlive the batch. ONCEWARD_INVALID past the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_batch_delivery(
    batch: *const onceward_batch,
    index: usize,
    delivery: *mut *mut onceward_delivery,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new("delivery", delivery) }?;
        let batch = handles::get(batch)?;
        handles::give(onceward_delivery::new(at(&batch.received, index)?.clone()), &out);
        Ok(())
    })
}

/// The receipts of all messages of the batch, in its order, into `receipts`, which has room for `count`: that of
/// onceward_batch_count. With them the whole batch is settled in one call. ONCEWARD_INVALID when there is too little room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_batch_receipts(
    batch: *const onceward_batch,
    receipts: *mut onceward_receipt,
    count: usize,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let places = unsafe { Places::new("receipts", receipts, count) }?;
        let batch = handles::get(batch)?;
        border::fits("receipts", batch.received.len(), count)?;
        places.set(batch.received.iter().map(|one| onceward_receipt::of(one.delivery().receipt())));
        Ok(())
    })
}

/// Frees the batch; NULL is left alone. It settles nothing: what was not settled is offered again when the lease has ended.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_batch_free(batch: *mut onceward_batch) {
    handles::free(batch);
}
