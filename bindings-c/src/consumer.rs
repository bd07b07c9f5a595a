//! Consuming: batches, leases that are extended, acknowledgements that are committed together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use onceward::{ConsumeOptions, Consumer, StopHandle};

use crate::border::{self, Options, Out};
use crate::delivery::{Received, onceward_delivery};
use crate::handles::{self, Handle};
use crate::status::{Failure, ONCEWARD_EMPTY, ONCEWARD_OK, Outcome, guard, run};
use crate::subscription::onceward_subscription;

/// Hands out messages one by one: receives in batches and, while it is open, extends the leases of everything that it has received
/// and not finished, for at most 12 h. An acknowledgement of one of its deliveries is noted, and committed together with others: with
/// the next receive, by onceward_consumer_flush, or after 100 ms, whichever comes first. Its calls wait for one another, but for
/// onceward_consumer_stop.
pub struct onceward_consumer {
    consumer: Mutex<Option<Consumer>>,
    stop: StopHandle,
}

impl Handle for onceward_consumer {
    const KIND: &'static str = "onceward_consumer";
}

impl onceward_consumer {
    fn lock(&self) -> MutexGuard<'_, Option<Consumer>> {
        self.consumer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open<'a>(held: &'a mut MutexGuard<'_, Option<Consumer>>) -> Outcome<&'a mut Consumer> {
    held.as_mut().ok_or_else(|| Failure::invalid("the consumer was closed".to_owned()))
}

/// How to consume. Set everything to zero, then size to sizeof(onceward_consumer_options), then what you need.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onceward_consumer_options {
    /// sizeof(onceward_consumer_options).
    pub size: usize,
    /// How many messages are received at a time, 1 to 10,000; 0 for 100.
    pub batch: usize,
    /// A lease other than the queue's, in milliseconds, 1 to 43,200,000; 0 for the queue's.
    pub lease_ms: i64,
}

impl Options for onceward_consumer_options {
    const NAME: &'static str = "onceward_consumer_options";

    fn unset() -> Self {
        onceward_consumer_options { size: size_of::<Self>(), batch: 0, lease_ms: 0 }
    }
}

/// Begins to consume a subscription. `options` may be NULL. `*consumer` is yours: close it with onceward_consumer_close, free it with
/// onceward_consumer_free.
///
/// ONCEWARD_INVALID for an option out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_subscription_consume(
    subscription: *const onceward_subscription,
    options: *const onceward_consumer_options,
    consumer: *mut *mut onceward_consumer,
) -> i32 {
    run(|| {
        // SAFETY: as the header asks.
        let (out, given) = unsafe { (Out::new(consumer)?, border::options(options)?) };
        let mut options = ConsumeOptions::new();
        if given.batch != 0 {
            options = options.batch(given.batch);
        }
        if let Some(lease) = border::duration("lease_ms", given.lease_ms)? {
            options = options.lease(lease);
        }
        let consumer = handles::get(subscription)?.subscription.consume(options)?;
        let stop = consumer.stop_handle();
        handles::give(onceward_consumer { consumer: Mutex::new(Some(consumer)), stop }, &out);
        Ok(())
    })
}

/// The next message, waiting up to `wait_ms` milliseconds for it (at most 24 h). Settle it, then free `*delivery` with
/// onceward_delivery_free; it may outlive the consumer.
///
/// ONCEWARD_EMPTY, which is no error, when nothing came, or after onceward_consumer_stop: `*delivery` is NULL then.
/// ONCEWARD_LEASE_LOST for a noted acknowledgement that came too late; ask again. ONCEWARD_INVALID when it was closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onceward_consumer_receive(
    consumer: *const onceward_consumer,
    wait_ms: i64,
    delivery: *mut *mut onceward_delivery,
) -> i32 {
    guard(|| {
        // SAFETY: as the header asks.
        let out = unsafe { Out::new(delivery) }?;
        let consumer = handles::get(consumer)?;
        let wait = border::wait("wait_ms", wait_ms)?;
        let Some(delivery) = open(&mut consumer.lock())?.receive(wait)? else { return Ok(ONCEWARD_EMPTY) };
        handles::give(onceward_delivery::new(Received::new(delivery)), &out);
        Ok(ONCEWARD_OK)
    })
}

/// Commits the noted acknowledgements now. One that came too late comes out of the next onceward_consumer_receive.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_consumer_flush(consumer: *const onceward_consumer) -> i32 {
    run(|| Ok(open(&mut handles::get(consumer)?.lock())?.flush()?))
}

/// Ends the consumer from any thread: a receive that waits returns, and each further one is ONCEWARD_EMPTY. Close it afterwards.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_consumer_stop(consumer: *const onceward_consumer) -> i32 {
    run(|| {
        handles::get(consumer)?.stop.stop();
        Ok(())
    })
}

/// Ends: commits the noted acknowledgements, gives back unused what was not handed out, and as failed what was handed out and not
/// settled. Closing again does nothing. The handle still has to be freed.
///
/// ONCEWARD_LEASE_LOST for the first noted acknowledgement that came too late.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_consumer_close(consumer: *const onceward_consumer) -> i32 {
    run(|| {
        let taken = handles::get(consumer)?.lock().take();
        Ok(taken.map_or(Ok(()), Consumer::close)?)
    })
}

/// Frees the handle; NULL is left alone. One that was not closed is closed, and nobody learns of an error.
#[unsafe(no_mangle)]
pub extern "C" fn onceward_consumer_free(consumer: *mut onceward_consumer) {
    handles::free(consumer);
}
