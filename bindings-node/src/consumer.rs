//! Consuming, on a thread of the consumer's own.

use napi::Env;
use napi_derive::napi;
use onceward::limits::WAIT_MAX;
use onceward::{FlushHandle, StopHandle};

use crate::convert::duration;
use crate::delivery::Batch;
use crate::work::{Lane, Outcome, Promise, Released, blocking, future};

#[napi]
pub struct Consumer {
    lane: Lane<onceward::Consumer>,
    stop: Released<StopHandle>,
    flush: Released<FlushHandle>,
}

impl Consumer {
    pub(crate) fn start(consumer: onceward::Consumer) -> Outcome<Self> {
        let (stop, flush) = (Released::new(consumer.stop_handle()), Released::new(consumer.flush_handle()));
        Ok(Consumer { lane: Lane::start(consumer)?, stop, flush })
    }
}

#[napi]
impl Consumer {
    /// The next deliveries, to be handed out one by one; an empty batch when the wait is over or the consumer was stopped.
    /// Without a wait, for ever.
    #[napi]
    pub fn next<'e>(&self, env: &'e Env, wait_ms: Option<f64>) -> Promise<'e, Batch> {
        let lane = self.lane.clone();
        future(env, async move {
            let next = lane.call(move |consumer| {
                let Some(consumer) = consumer.as_mut() else { return Ok(Batch::new(Vec::new())) };
                loop {
                    let found = consumer.receive_ahead(wait_ms.map_or(WAIT_MAX, duration))?;
                    if !found.is_empty() || wait_ms.is_some() || consumer.is_stopped() {
                        return Ok(Batch::new(found));
                    }
                }
            });
            next.await
        })
    }

    /// Not on the lane: the consumer may be waiting there.
    #[napi]
    pub fn flush<'e>(&self, env: &'e Env) -> Promise<'e, ()> {
        let flush = Released::new(self.flush.clone());
        blocking(env, move || Ok(flush.flush()?))
    }

    /// Ends a wait, and every later one at once.
    #[napi]
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// Hands out nothing more. Returns how many deliveries are in hand.
    #[napi]
    pub fn finish<'e>(&self, env: &'e Env) -> Promise<'e, u32> {
        self.stop.stop();
        let lane = self.lane.clone();
        future(env, async move {
            let in_hand =
                lane.call(|consumer| consumer.as_mut().map_or(Ok(0), |consumer| Ok(consumer.finish()?))).await?;
            Ok(u32::try_from(in_hand).unwrap_or(u32::MAX))
        })
    }

    #[napi]
    pub fn close<'e>(&self, env: &'e Env) -> Promise<'e, ()> {
        self.stop.stop();
        let lane = self.lane.clone();
        future(env, async move {
            lane.call(|consumer| consumer.take().map_or(Ok(()), |consumer| Ok(consumer.close()?))).await
        })
    }
}

/// Nobody can ask it for more: collected, or its worker has ended. What it waits for would never be handed out. Deliveries in
/// hand are not its own to give back: whoever has them may still be at work.
impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop.stop();
        self.lane.post(|consumer| {
            if let Some(mut consumer) = consumer.take() {
                // What could not be given back comes back when its lease ends.
                let _ = consumer.finish();
            }
        });
    }
}
