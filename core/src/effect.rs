//! Making a call at a third party once: begin it, make it, say how it ended. [`Delivery::once`](crate::Delivery::once) and
//! [`Ledger::once`](crate::Ledger::once) do the three in one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Steady;
use crate::delivery::Held;
use crate::engine::Engine;
use crate::engine::effect::operation::{
    Answer, Begin, Disposal, EffectOperation, EffectReply, Finish, Outcome, Probed as ProbeEnded, Subject, label,
};
use crate::engine::effect::recorder::Slot;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::failpoint;
use crate::limits::{RESULT_BYTES_MAX, TEXT_BYTES_MAX};
use crate::once::{Called, OnceOptions, Probed};

/// What is kept of a call that ended without a word: its handler panicked, or was cancelled.
const NO_WORD: &str = "its caller ended without saying how the call ended";

/// Characters of a kept text that an error shows.
const TEXT_SHOWN_MAX: usize = 200;

/// What is to be done now about an effect that somebody wants.
#[derive(Debug)]
pub enum Begun {
    /// It is on disk that the call starts: make it, and say how it ended.
    Call(Effect),
    /// An earlier caller is gone, and whether its call took effect is not known: ask the third party.
    Probe(Probe),
    /// It happened before, with this result.
    Done(Vec<u8>),
}

/// What a call, a probe and their records have in common.
struct Common {
    engine: Arc<Engine>,
    /// Everyone takes the caller for alive while this is held, also when its store is closed meanwhile.
    _slot: Arc<Slot>,
    begin: Begin,
    held: Option<Held>,
}

/// A call that may be made now, and that is recorded as started.
///
/// Make the call, then say how it ended. Dropped without a word, it is in doubt: nobody knows then. As long as it lives,
/// nobody else makes the same call, whatever becomes of the delivery's lease; a store that is closed meanwhile counts as
/// alive until it is dropped.
pub struct Effect {
    /// None once it was said how it ended.
    open: Option<Common>,
}

/// A question to the third party: did the effect of an earlier caller happen? Dropped without an answer, nothing changes.
pub struct Probe {
    common: Common,
    doubt: i64,
    asked: Steady,
}

/// Asks for an effect.
pub(crate) fn begin(
    engine: &Arc<Engine>,
    subject: Subject,
    options: &OnceOptions,
    held: Option<Held>,
) -> Result<Begun> {
    let begin = Begin {
        subject,
        ticket: engine.next_ticket(),
        on_unknown: options.on_unknown,
        idempotent_for: options.idempotent_for,
        request: options.fingerprint(),
        process: std::process::id(),
    };
    let common = Common { engine: Arc::clone(engine), _slot: engine.hold_slot()?, begin, held };
    failpoint("once-before-begin");
    let reply = engine.call_effect(EffectOperation::Begin(common.begin.clone()));
    common.begun(reply)
}

impl Common {
    /// What an answer of the engine means to the caller.
    fn begun(self, reply: Result<EffectReply>) -> Result<Begun> {
        let what = label(&self.begin.subject);
        match reply {
            Ok(EffectReply::Call) => {
                failpoint("once-begun");
                Ok(Begun::Call(Effect { open: Some(self) }))
            }
            Ok(EffectReply::Result(result)) => Ok(Begun::Done(result)),
            Ok(EffectReply::Probe { doubt, asked }) => Ok(Begun::Probe(Probe { common: self, doubt, asked })),
            Ok(EffectReply::Wait { process, disposal }) => {
                self.settled(disposal);
                let then = self.then(disposal);
                Err(Error::new(ErrorKind::Busy, format!("process {process} is at {what}, and alive{then}")))
            }
            Ok(EffectReply::Settling { left, disposal }) => {
                self.settled(disposal);
                let (then, at) = (self.then(disposal), self.engine.now().plus(left).get());
                Err(Error::new(
                    ErrorKind::Busy,
                    format!(
                        "that {what} did not happen counts only when it is asked after the settle delay: in {left:?}, \
                         at {at} (milliseconds since 1970){then}"
                    ),
                ))
            }
            Ok(EffectReply::InDoubt { doubt, text, disposal }) => Err(self.in_doubt(doubt, &text, disposal)),
            Ok(other) => Err(Error::new(ErrorKind::Storage, format!("invariant: the engine answered {other:?}"))),
            Err(error) => {
                if matches!(error.kind(), ErrorKind::Storage | ErrorKind::Detached) {
                    // It may stand in the file that the call starts. It does not.
                    self.engine.record_later(self.finish(Outcome::NotCalled));
                }
                Err(error)
            }
        }
    }

    fn finish(&self, outcome: Outcome) -> Finish {
        Finish {
            subject: self.begin.subject.clone(),
            ticket: self.begin.ticket,
            on_unknown: self.begin.on_unknown,
            outcome,
        }
    }

    /// Records how the call ended.
    fn record(&self, outcome: Outcome) -> Result<EffectReply> {
        failpoint("once-before-finish");
        let reply = self.engine.record(self.finish(outcome));
        failpoint("once-finished");
        if let Ok(EffectReply::InDoubt { disposal, .. }) = &reply {
            self.settled(*disposal);
        }
        reply
    }

    fn unknown(&self, text: &str) -> Error {
        match self.record(Outcome::Unknown(cut(text))) {
            Ok(EffectReply::InDoubt { doubt, text, disposal }) => self.in_doubt(doubt, &text, disposal),
            Ok(_) => Error::new(ErrorKind::InDoubt, format!("{} is in doubt: {text}", label(&self.begin.subject))),
            Err(error) => self.not_recorded(error),
        }
    }

    fn in_doubt(&self, doubt: i64, text: &str, disposal: Disposal) -> Error {
        self.settled(disposal);
        let (what, then, text) = (label(&self.begin.subject), self.then(disposal), first_line(text));
        Error::new(ErrorKind::InDoubt, format!("whether {what} happened is not known (doubt {doubt}): {text}{then}"))
    }

    /// What became of the message, in words.
    fn then(&self, disposal: Disposal) -> String {
        match disposal {
            Disposal::NoMessage | Disposal::Kept => String::new(),
            Disposal::Parked => "; the message is parked until it is resolved".to_owned(),
            Disposal::DeadLettered => "; the message is a dead letter".to_owned(),
            Disposal::GivenBack { .. } => {
                let wait = disposal.wait(self.engine.now()).unwrap_or_default();
                format!("; the message was given back and is offered again in {wait:?}")
            }
            Disposal::Lost => "; the lease of the message was lost".to_owned(),
        }
    }

    fn settled(&self, disposal: Disposal) {
        if let Some(held) = &self.held {
            held.disposed(disposal);
        }
    }

    fn not_recorded(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::Conflict {
            return error;
        }
        let message = format!(
            "the outcome of {} could not be recorded yet, and is as soon as it can be ({}); if this store ends before, it \
             is in doubt",
            label(&self.begin.subject),
            error.message()
        );
        Error::with_source(error.kind(), message, error)
    }
}

impl Effect {
    fn take(&mut self) -> Common {
        self.open.take().expect("invariant: each way to end it consumes it")
    }

    /// It happened: keeps the result, on disk, and returns it. Recorded even when the delivery's lease was lost meanwhile,
    /// for it did happen; the acknowledgement then fails.
    ///
    /// # Errors
    /// `Invalid` for a result over 1 MiB: it happened, and its result cannot be kept, so it is in doubt. `Storage`, `Full` or
    /// `Busy` when it could not be recorded yet: it is recorded as soon as it can be while the store is open.
    pub fn done(mut self, result: impl Into<Vec<u8>>) -> Result<Vec<u8>> {
        let (common, result) = (self.take(), result.into());
        if result.len() > RESULT_BYTES_MAX {
            let what =
                format!("it happened, but its result is {} bytes; the limit is {RESULT_BYTES_MAX}", result.len());
            let recorded = common.unknown(&what);
            return Err(Error::invalid(format!(
                "the result of {} is {} bytes; the limit is {RESULT_BYTES_MAX}. It happened, and is now in doubt ({})",
                label(&common.begin.subject),
                result.len(),
                recorded.message()
            )));
        }
        match common.record(Outcome::Done(result.clone())) {
            Ok(_) => Ok(result),
            Err(error) => Err(common.not_recorded(error)),
        }
    }

    /// It is known not to have happened. Returns the error to answer with: `Failed`, after which the message can be given
    /// back and the call made again; `InDoubt` when an earlier call may have happened, of which this one was to be the
    /// repetition: the message then stays with its holder too; another when that could not be recorded yet.
    pub fn failed(mut self, why: &str) -> Error {
        let common = self.take();
        match common.record(Outcome::Failed(cut(why))) {
            Ok(EffectReply::InDoubt { doubt, text, disposal }) => common.in_doubt(doubt, &text, disposal),
            Ok(_) => {
                let what = label(&common.begin.subject);
                Error::new(ErrorKind::Failed, format!("{what} is known not to have happened: {why}"))
            }
            Err(error) => common.not_recorded(error),
        }
    }

    /// The call was never made: as if it had not begun.
    ///
    /// # Errors
    /// `Storage`, `Full` or `Busy` when that could not be recorded yet.
    pub fn not_called(mut self) -> Result<()> {
        let common = self.take();
        common.record(Outcome::NotCalled).map(|_| ()).map_err(|error| common.not_recorded(error))
    }

    /// Nobody knows whether it happened. Returns the error to answer with: `InDoubt`, naming the doubt and what became of the
    /// message; another when that could not be recorded yet.
    pub fn unknown(mut self, why: &str) -> Error {
        self.take().unknown(why)
    }

    /// Says how it ended.
    ///
    /// # Errors
    /// As [`Effect::done`], [`Effect::failed`] and [`Effect::unknown`].
    pub fn ended(self, called: Called) -> Result<Vec<u8>> {
        match called {
            Called::Done(result) => self.done(result),
            Called::Failed(why) => Err(self.failed(&why)),
            Called::Unknown(why) => Err(self.unknown(&why)),
        }
    }
}

impl Drop for Effect {
    fn drop(&mut self) {
        if let Some(common) = self.open.take()
            && !common.engine.is_forked()
        {
            // What cannot be recorded now is recorded by housekeeping, or found when this store is gone.
            let _ = common.unknown(NO_WORD);
        }
    }
}

impl Probe {
    /// It happened, with this result: keeps it, on disk, and returns it.
    ///
    /// # Errors
    /// `Invalid` for a result over 1 MiB; then nothing has changed.
    pub fn applied(self, result: impl Into<Vec<u8>>) -> Result<Vec<u8>> {
        let result = result.into();
        if result.len() > RESULT_BYTES_MAX {
            return Err(Error::invalid(format!(
                "the result of {} is {} bytes; the limit is {RESULT_BYTES_MAX}",
                label(&self.common.begin.subject),
                result.len()
            )));
        }
        match self.answer(Answer::Applied(result))? {
            Begun::Done(result) => Ok(result),
            Begun::Call(effect) => {
                // Somebody else had decided otherwise meanwhile. Whoever is right, this answer calls nothing.
                effect.not_called()?;
                Err(Error::conflict("the effect was decided by others while the third party was asked"))
            }
            Begun::Probe(_) => Err(Error::new(
                ErrorKind::Busy,
                "the effect was decided anew while the third party was asked; ask again",
            )),
        }
    }

    /// It did not happen. When it was asked late enough, the call is recorded as started, and is to be made now.
    ///
    /// # Errors
    /// `Busy` when it was asked within the settle delay: the message says until when, and the delivery was given back without
    /// counting as an attempt. `LeaseLost` when the delivery is no longer the current one.
    pub fn not_applied(self) -> Result<Begun> {
        self.answer(Answer::NotApplied)
    }

    /// The third party cannot tell. Returns the error to answer with: `InDoubt`; the message is parked. Another when that
    /// could not be recorded; then nothing has changed.
    pub fn unknown(self, why: &str) -> Error {
        let text = cut(why);
        match self.answer(Answer::Unknown(text)) {
            Err(error) => error,
            Ok(begun) => {
                if let Begun::Call(effect) = begun {
                    let _ = effect.not_called();
                }
                Error::new(
                    ErrorKind::Busy,
                    "the effect was decided by others while the third party was asked; try again",
                )
            }
        }
    }

    fn answer(self, answer: Answer) -> Result<Begun> {
        let Probe { common, doubt, asked } = self;
        failpoint("once-probed");
        let probed = ProbeEnded { begin: common.begin.clone(), doubt, asked, answer };
        let reply = common.engine.call_effect(EffectOperation::Probed(probed));
        failpoint("once-probe-recorded");
        common.begun(reply)
    }
}

/// What an error shows of a text that is kept whole: its first line, cut.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let shown: String = line.chars().take(TEXT_SHOWN_MAX).collect();
    if shown.len() < text.len() { format!("{shown}…") } else { shown }
}

/// Text to keep with an outcome, cut to what fits: an outcome is never refused for its words.
fn cut(text: &str) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].replace('\0', "\u{fffd}").chars().take(TEXT_BYTES_MAX).collect()
}

/// Calls, or asks and then calls, and says how it ended.
pub(crate) fn run(
    begun: Begun,
    call: impl FnOnce() -> Called,
    probe: Option<&mut dyn FnMut() -> Probed>,
) -> Result<Vec<u8>> {
    let effect = match begun {
        Begun::Done(result) => return Ok(result),
        Begun::Call(effect) => effect,
        Begun::Probe(question) => {
            let probe = probe.ok_or_else(|| Error::invalid("there is no probe to ask with"))?;
            let begun = match probe() {
                Probed::Applied(result) => return question.applied(result),
                Probed::Unknown(why) => return Err(question.unknown(&why)),
                Probed::NotApplied => question.not_applied()?,
            };
            match begun {
                Begun::Done(result) => return Ok(result),
                Begun::Call(effect) => effect,
                Begun::Probe(_) => {
                    return Err(Error::new(
                        ErrorKind::Busy,
                        "the effect was decided anew while the third party was asked; ask again",
                    ));
                }
            }
        }
    };
    let called = call();
    failpoint("once-called");
    effect.ended(called)
}

impl fmt::Debug for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&label(&self.begin.subject))
    }
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Effect").field(&self.open).finish()
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("of", &self.common).field("doubt", &self.doubt).finish_non_exhaustive()
    }
}

/// How long a caller that waits for another sleeps between two looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);
