//! Where calls run: futures where they are woken, short calls on the threads of the runtime, what belongs together on a lane.

use std::any::Any;
use std::cell::OnceCell;
use std::future::Future;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::task::{Context, Poll};
use std::thread;

use async_task::Runnable;
use napi::bindgen_prelude::{PromiseRaw, ToNapiValue, within_runtime_if_available};
use napi::{Env, JsValue, Status};
use napi_derive::napi;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinError;

/// Why a call failed.
pub(crate) enum Failure {
    Core(onceward::Error),
    /// A mistake of the call that the core cannot see.
    Invalid(&'static str),
    Aborted,
    /// A bug of ours, or a machine without threads.
    Panic(String),
}

impl From<onceward::Error> for Failure {
    fn from(error: onceward::Error) -> Self {
        Failure::Core(error)
    }
}

impl Failure {
    fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (None, Some(text)) => text.clone(),
            (None, None) => "no text".to_owned(),
        };
        Failure::Panic(format!("a bug in onceward, please report it: {text}"))
    }

    pub(crate) fn joined(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => Failure::panicked(panic.as_ref()),
            Err(_) => Failure::Aborted,
        }
    }

    /// Codes do not survive the way of a rejection through Node's API, so they travel in the text; `lib/errors.cjs` reads it.
    pub(crate) fn thrown(&self) -> napi::Error {
        let (code, message) = match self {
            Failure::Core(error) => (error.kind().name(), error.message()),
            Failure::Invalid(message) => (onceward::ErrorKind::Invalid.name(), *message),
            Failure::Aborted => ("Aborted", "aborted"),
            Failure::Panic(message) => ("Panic", message.as_str()),
        };
        napi::Error::new(Status::GenericFailure, format!("\u{1f}{code}\u{1f}{message}"))
    }
}

/// The outcome of a call.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// What a method returns: a promise that settles on the event loop.
pub(crate) type Promise<'e, T> = napi::Result<PromiseRaw<'e, T>>;

/// Runs a future where it is woken: first here, on the event loop, later on the thread that has what it waits for. So a call
/// costs two thread switches, there and back. It must not block.
pub(crate) fn future<T, F>(env: &Env, work: F) -> Promise<'_, T>
where
    T: ToNapiValue + Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
{
    let (runnable, promise) = prepare(env, work)?;
    runnable.schedule();
    Ok(promise)
}

/// As [`future`], but begun on the runtime: for what computes for long.
pub(crate) fn elsewhere<T, F>(env: &Env, work: F) -> Promise<'_, T>
where
    T: ToNapiValue + Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
{
    let (runnable, promise) = prepare(env, work)?;
    within_runtime_if_available(|| tokio::task::spawn_blocking(move || runnable.schedule()));
    Ok(promise)
}

fn prepare<T, F>(env: &Env, work: F) -> napi::Result<(Runnable, PromiseRaw<'_, T>)>
where
    T: ToNapiValue + Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
{
    let (deferred, promise) = env.create_deferred()?;
    let settles = async move {
        match Caught(Box::pin(work)).await {
            Ok(value) => deferred.resolve(move |_| Ok(value)),
            Err(failure) => deferred.reject(failure.thrown()),
        }
    };
    // What wakes it may have no runtime at hand, or one of its own.
    let runtime = within_runtime_if_available(Handle::current);
    let ended = ended(*env)?;
    let run = move |runnable: Runnable| {
        if ended.load(Ordering::SeqCst) {
            // Nobody is there to answer, and the runtime, which is ending, wakes everything once more.
            return;
        }
        let _entered = runtime.enter();
        runnable.run();
    };
    let (runnable, task) = async_task::spawn(settles, run);
    task.detach();
    Ok((runnable, PromiseRaw::new(env.raw(), promise.raw())))
}

/// Whether the event loop of this thread has ended.
fn ended(env: Env) -> napi::Result<Arc<AtomicBool>> {
    thread_local! {
        static ENDED: OnceCell<Arc<AtomicBool>> = const { OnceCell::new() };
    }
    ENDED.with(|known| {
        if let Some(ended) = known.get() {
            return Ok(Arc::clone(ended));
        }
        let ended = Arc::new(AtomicBool::new(false));
        env.add_env_cleanup_hook(Arc::clone(&ended), |ended| ended.store(true, Ordering::SeqCst))?;
        Ok(Arc::clone(known.get_or_init(|| ended)))
    })
}

/// A future whose panics are failures.
struct Caught<F>(Pin<Box<F>>);

impl<T, F: Future<Output = Outcome<T>>> Future for Caught<F> {
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome<T>> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(Failure::panicked(panic.as_ref()))))
    }
}

/// As [`future`], until it is aborted. What was finished by then is answered all the same.
pub(crate) fn abortable<'e, T, F>(env: &'e Env, abort: Option<&Abort>, work: F) -> Promise<'e, T>
where
    T: ToNapiValue + Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
{
    let Some(abort) = abort else { return future(env, work) };
    let mut aborted = abort.aborted.subscribe();
    future(env, async move {
        tokio::select! {
            biased;
            outcome = work => outcome,
            () = until(&mut aborted) => Err(Failure::Aborted),
        }
    })
}

/// Ends when it is aborted.
async fn until(aborted: &mut watch::Receiver<bool>) {
    if aborted.wait_for(|aborted| *aborted).await.is_err() {
        // Nobody is left who could.
        std::future::pending::<()>().await;
    }
}

/// Runs a call that may block for a short time.
pub(crate) fn blocking<T, F>(env: &Env, work: F) -> Promise<'_, T>
where
    T: ToNapiValue + Send + 'static,
    F: FnOnce() -> Outcome<T> + Send + 'static,
{
    future(env, async { tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Failure::joined(error))) })
}

/// Ends a call that waits.
#[napi]
pub struct Abort {
    aborted: watch::Sender<bool>,
}

#[napi]
impl Abort {
    #[napi(constructor)]
    #[allow(clippy::new_without_default, reason = "JavaScript calls it")]
    pub fn new() -> Self {
        Abort { aborted: watch::Sender::new(false) }
    }

    #[napi]
    pub fn abort(&self) {
        self.aborted.send_replace(true);
    }
}

type Job<T> = Box<dyn FnOnce(&mut Option<T>) + Send>;

/// A thread that owns a value and makes its calls one after the other: what may wait for long, and what the core ties to the
/// thread that began it. It ends when the lane is dropped, and drops the value.
pub(crate) struct Lane<T> {
    jobs: mpsc::Sender<Job<T>>,
}

impl<T> Clone for Lane<T> {
    fn clone(&self) -> Self {
        Lane { jobs: self.jobs.clone() }
    }
}

impl<T: Send + 'static> Lane<T> {
    pub(crate) fn start(value: T) -> Outcome<Self> {
        let (jobs, queue) = mpsc::channel::<Job<T>>();
        let run = move || {
            let mut value = Some(value);
            for job in queue {
                job(&mut value);
            }
        };
        match thread::Builder::new().name("onceward-lane".to_owned()).spawn(run) {
            Ok(_) => Ok(Lane { jobs }),
            Err(error) => Err(Failure::Panic(format!("the operating system gave no thread: {error}"))),
        }
    }

    /// Makes a call on the value that nobody waits for.
    pub(crate) fn post(&self, work: impl FnOnce(&mut Option<T>) + Send + 'static) {
        let job: Job<T> = Box::new(move |value| {
            let _ = catch_unwind(AssertUnwindSafe(|| work(value)));
        });
        // Without its thread there is no value any more.
        let _ = self.jobs.send(job);
    }

    /// Makes a call on the value, which the call may take out.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Option<T>) -> Outcome<R> + Send + 'static,
    ) -> Outcome<R> {
        let (answer, answered) = oneshot::channel();
        let job: Job<T> = Box::new(move |value| {
            let outcome = catch_unwind(AssertUnwindSafe(|| work(value)));
            let _ = answer.send(outcome.unwrap_or_else(|panic| Err(Failure::panicked(panic.as_ref()))));
        });
        let lost = || Failure::Panic("a thread of onceward ended early".to_owned());
        self.jobs.send(job).map_err(|_| lost())?;
        answered.await.map_err(|_| lost())?
    }
}

/// A handle of the core that is dropped on a thread of ours: dropping the last one closes the store, which takes time.
pub(crate) struct Released<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Released<T> {
    pub(crate) fn new(value: T) -> Self {
        Released(Some(value))
    }
}

impl<T: Send + 'static> Deref for Released<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("invariant: taken only when dropped")
    }
}

impl<T: Send + 'static> Drop for Released<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            // Where there is no thread left, the value is dropped right here.
            let _ = releaser().send(Box::new(value));
        }
    }
}

fn releaser() -> &'static mpsc::Sender<Box<dyn Any + Send>> {
    static RELEASER: OnceLock<mpsc::Sender<Box<dyn Any + Send>>> = OnceLock::new();
    RELEASER.get_or_init(|| {
        let (sender, dropped) = mpsc::channel::<Box<dyn Any + Send>>();
        let run = move || {
            for value in dropped {
                let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
            }
        };
        let _ = thread::Builder::new().name("onceward-release".to_owned()).spawn(run);
        sender
    })
}
