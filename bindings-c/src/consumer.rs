//! Consuming: one message after the other, with the batching, the leases and the acknowledgements taken care of.

use onceward::{ConsumeOptions, Consumer, FlushHandle, ProcessMutex, StopHandle};

use crate::border::{self, Options, Out};
use crate::delivery::{Received, onceward_delivery};
use crate::handles::{self, Handle};
use crate::status::{Failure, ONCEWARD_EMPTY, ONCEWARD_OK, Outcome, guard, run};
use crate::subscription::onceward_subscription;

/// How to consume. Set everything to zero, then size to sizeof(onceward_consume_options), then what you need.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_consume_options {
    /// sizeof(onceward_consume_options).
    pub size: usize,
    /// How many messages are received at a time, 1 to 10,000; 0 for 100. On an at-most-once queue those of them that were not handed
    /// out when the consumer ends are lost, as they are in a crash.
    pub batch: usize,
    /// A lease other than the queue's, in milliseconds, 1 to 43,200,000; 0 for the queue's. It is extended for as long as the consumer
    /// lives, up to 12 h for one batch.
    pub lease_ms: i64,
}

impl Options for onceward_consume_options {
    const NAME: &'static str = "onceward_consume_options";

    fn unset() -> Self {
        onceward_consume_options { size: size_of::<Self>(), batch: 0, lease_ms: 0 }
    }
}

/// Hands out a subscription's messages one by one. It receives in batches and, while it lives, extends the leases of everything that it
/// received and that is not finished. The acknowledgements of its deliveries are noted, and committed together: with the next receive,
/// by onceward_consumer_flush, or after 100 ms, whichever comes first. A crash before that delivers again.
///
/// It may be shared between threads; they receive one at a time.
pub struct onceward_consumer {
    /// None once it is closed.
    consumer: ProcessMutex<Option<Consumer>>,
    stop: StopHandle,
    flush: FlushHandle,
}

impl Handle for onceward_consumer {
    const KIND: &'static str = "onceward_consumer";
}

fn closed() -> Failure {
    Failure::invalid("the consumer is closed")
}

/// Begins to consume. `options` may be NULL. `*consumer` is yours: close it with onceward_consumer_close, free it with
/// onceward_consumer_free.
///
/// ONCEWARD_INVALID for an option out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_consume(
    subscription: *const onceward_subscription,
    options: *const onceward_consume_options,
    consumer: *mut *mut onceward_consumer,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (out, given) = unsafe { (Out::new("consumer", consumer)?, border::options(options)?) };
        let mut options = ConsumeOptions::new();
        if given.batch != 0 {
            options = options.batch(given.batch);
        }
        if let Some(lease) = border::duration("lease_ms", given.lease_ms)? {
            options = options.lease(lease);
        }
        let consumer = handles::get(subscription)?.subscription.consume(options)?;
        let (stop, flush) = (consumer.stop_handle(), consumer.flush_handle());
        handles::give(onceward_consumer { consumer: ProcessMutex::new(Some(consumer)), stop, flush }, &out);
        Ok(())
    })
}

/// The next message, waiting up to `wait_ms` milliseconds for it (at most 24 h). Settle it like any other; its acknowledgement is noted.
/// Free `*delivery` with onceward_delivery_free.
///
/// ONCEWARD_EMPTY, which is no error, when nothing came, and after onceward_consumer_stop. ONCEWARD_LEASE_LOST for a noted
/// acknowledgement that came too late: its message is delivered again; go on. ONCEWARD_NOT_FOUND when the subscription was ended;
/// ONCEWARD_BUSY when others kept the store busy; ONCEWARD_INVALID when the consumer is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_consumer_receive(
    consumer: *const onceward_consumer,
    wait_ms: i64,
    delivery: *mut *mut onceward_delivery,
) -> i32 {
    guard(|| {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new("delivery", delivery) }?;
        let wait = border::wait("wait_ms", wait_ms)?;
        let handle = handles::get(consumer)?;
        let received = handle.consumer.lock()?.as_mut().ok_or_else(closed)?.receive(wait)?;
        let Some(delivery) = received else { return Ok(ONCEWARD_EMPTY) };
        handles::give(onceward_delivery::new(Received::new(delivery)), &out);
        Ok(ONCEWARD_OK)
    })
}

/// Commits the noted acknowledgements now, also while a receive waits in another thread. One that came too late is the next receive's
/// ONCEWARD_LEASE_LOST.
///
/// ONCEWARD_NOT_FOUND when the subscription was ended; ONCEWARD_BUSY or ONCEWARD_FULL, and then they stay noted; ONCEWARD_INVALID when
/// the consumer is closed. With nothing noted nothing is done, and it succeeds, also when the store is closed; in a forked child it is
/// ONCEWARD_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_consumer_flush(consumer: *const onceward_consumer) -> i32 {
    run(|| {
        let handle = handles::get(consumer)?;
        // Who holds it receives, and so it is open; or it closes, which commits them too.
        if matches!(handle.consumer.try_lock().as_deref(), Some(None)) {
            return Err(closed());
        }
        Ok(handle.flush.flush()?)
    })
}

/// Ends the receive that waits in another thread, and every later one, with ONCEWARD_EMPTY. Waits for nothing.
///
/// ONCEWARD_INVALID for what is no living handle, and no other error.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_consumer_stop(consumer: *const onceward_consumer) -> i32 {
    run(|| {
        handles::get(consumer)?.stop.stop();
        Ok(())
    })
}

/// Ends: a receive that waits in another thread comes back, the noted acknowledgements are committed, messages that were not handed out
/// are released, and those that were handed out and not settled are given back as failed. Closing again does nothing. The handle still
/// has to be freed.
///
/// ONCEWARD_LEASE_LOST for the first noted acknowledgement that came too late; ONCEWARD_NOT_FOUND for noted ones of a subscription that
/// was ended; ONCEWARD_CLOSED in a forked child. It is closed all the same, but for there.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_consumer_close(consumer: *const onceward_consumer) -> i32 {
    run(|| close(&*handles::get(consumer)?))
}

fn close(handle: &onceward_consumer) -> Outcome {
    handle.stop.stop();
    let consumer = handle.consumer.lock()?.take();
    Ok(consumer.map_or(Ok(()), Consumer::close)?)
}

/// Frees the handle; NULL is left alone. A consumer that was not closed is closed as well as it can be.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_consumer_free(consumer: *mut onceward_consumer) {
    handles::free(consumer);
}
