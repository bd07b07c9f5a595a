//! Group commit: callers that wait together are served by one of them.
//!
//! The first caller to find nobody leading leads: its own thread runs what waits, in one commit. Those who come meanwhile
//! form the next group; when the commit is done, one of them is told to lead it, while the sync of the first still runs.
//! An uncontended call hops no thread.
//!
//! Sends that wait for the disk gather: those that come during a sync go into one commit after it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use crate::engine::operation::{Operation, Reply};
use crate::engine::threads::lock;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::futex;

/// Called with the answer of an operation that nobody waits for.
pub(crate) type Completion = Box<dyn FnOnce(Result<Reply>) + Send>;

const FORMING: u32 = 0;
/// Nobody leads: a member of the group must.
const LEADERLESS: u32 = 1;
const RUNNING: u32 = 2;
const DONE: u32 = 3;

/// Operations that go into one commit, or a few. Those who wait for it sleep on its state.
pub(crate) struct Group {
    state: AtomicU32,
    /// Of its members, in order, from when it is done. Each takes its own.
    answers: OnceLock<Vec<Mutex<Option<Answer>>>>,
}

impl Group {
    fn new() -> Arc<Self> {
        Arc::new(Group { state: AtomicU32::new(FORMING), answers: OnceLock::new() })
    }

    fn set(&self, state: u32) {
        self.state.store(state, Ordering::SeqCst);
    }

    fn is(&self, state: u32) -> bool {
        self.state.load(Ordering::SeqCst) == state
    }

    fn wake(&self, members: u32) {
        futex::wake(&self.state, members);
    }

    fn take_answer(&self, index: usize) -> Result<Reply> {
        let own = self.answers.get().and_then(|answers| answers.get(index));
        own.and_then(|own| lock(own).take()).map_or_else(
            || Err(Error::new(ErrorKind::Storage, "invariant: the leader left an operation without an answer")),
            |answer| answer.reply,
        )
    }
}

struct Answer {
    reply: Result<Reply>,
    /// Comes back to be dropped where it was made: memory is freed more cheaply there, and by all of them at once.
    _operation: Operation,
}

struct Member {
    /// None once it was taken back.
    operation: Option<Operation>,
    completion: Option<Completion>,
}

/// What becomes of a member's answer.
enum Caller {
    /// It took its operation back.
    Gone,
    Waits,
    IsTold(Completion),
}

/// The group that callers join.
struct Forming {
    group: Arc<Group>,
    members: Vec<Member>,
    /// How many of their operations wait.
    waiting: usize,
    /// Whether one of them does not wait for the disk.
    hurried: bool,
}

impl Forming {
    fn with_room_for(members: usize) -> Self {
        Forming { group: Group::new(), members: Vec::with_capacity(members), waiting: 0, hurried: false }
    }

    fn add(&mut self, operation: Operation, completion: Option<Completion>) -> usize {
        self.hurried |= !matches!(operation, Operation::Send { synced: true, .. });
        self.waiting += 1;
        self.members.push(Member { operation: Some(operation), completion });
        self.members.len() - 1
    }
}

/// Who leads, and who waits.
pub(crate) struct Turn {
    state: Mutex<TurnState>,
}

struct TurnState {
    busy: bool,
    /// Groups that are committed and not yet synced. Sends that come meanwhile would wait for the disk anyway: they
    /// gather, and go into one commit when the sync has ended.
    syncing: usize,
    forming: Forming,
    /// Transactions of the application that wait for their turn.
    transactions: VecDeque<Arc<Ticket>>,
    /// Whose turn it is when both wait: they alternate.
    transaction_last: bool,
}

impl TurnState {
    /// Whether the forming group is to wait for the sync that is under way.
    fn gathers(&self) -> bool {
        self.syncing > 0 && !self.forming.hurried
    }

    fn group_waits(&self) -> bool {
        self.forming.waiting > 0
    }

    /// What has formed goes to who leads it; who comes from now on forms the next group, most often as large.
    fn take_forming(&mut self) -> Forming {
        self.forming.group.set(RUNNING);
        let next = Forming::with_room_for(self.forming.members.len());
        std::mem::replace(&mut self.forming, next)
    }

    /// Lets whoever comes first lead what has formed: one of its members, to be woken, or the next to join.
    fn offer_forming(&mut self) -> Arc<Group> {
        self.busy = true;
        self.forming.group.set(LEADERLESS);
        Arc::clone(&self.forming.group)
    }
}

/// A transaction's place in the queue.
pub(crate) struct Ticket {
    granted: AtomicU32,
}

/// What runs a group: one commit, with its answers; then the sync they need.
pub(crate) trait Run {
    /// Runs the operations, wakes whom they concern, and returns their answers, in order.
    fn commit(&self, operations: &[Operation]) -> Finished;
    /// Makes the answers true: syncs what must be on disk. May change answers to errors.
    fn finish(&self, finished: &mut Finished);
}

/// A group's answers, before they are handed out.
pub(crate) struct Finished {
    pub(crate) answers: Vec<Result<Reply>>,
    /// The number of the last commit that must be on disk before anyone is answered.
    pub(crate) sync: Option<u64>,
    /// The count of sends, synced by others, that the answers wait for, and the number of the commit that has them.
    pub(crate) awaits: Option<(u32, u64)>,
}

impl Turn {
    pub(crate) fn new() -> Self {
        Turn {
            state: Mutex::new(TurnState {
                busy: false,
                syncing: 0,
                forming: Forming::with_room_for(1),
                transactions: VecDeque::new(),
                transaction_last: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, TurnState> {
        lock(&self.state)
    }

    /// Runs an operation and waits for its answer, for at most `patience` until it begins.
    pub(crate) fn call(&self, operation: Operation, patience: Duration, runner: &impl Run) -> Result<Reply> {
        let (group, index, led) = self.join(operation);
        match led {
            Some(forming) => self.lead(forming, runner),
            None => self.follow(&group, Some((index, patience)), runner)?,
        }
        group.take_answer(index)
    }

    /// Adds an operation that is answered through `completion`. Somebody must then [`Turn::follow`] the group, and until
    /// somebody does, more may join it: calls that a program makes in one go share a commit.
    #[cfg(feature = "tokio")]
    pub(crate) fn submit(&self, operation: Operation, completion: Completion) -> Arc<Group> {
        let mut turn = self.lock();
        turn.forming.add(operation, Some(completion));
        if turn.busy || turn.gathers() {
            return Arc::clone(&turn.forming.group);
        }
        let group = turn.offer_forming();
        drop(turn);
        group.wake(1);
        group
    }

    /// Adds an operation. With the group, if it is now the caller's to lead.
    fn join(&self, operation: Operation) -> (Arc<Group>, usize, Option<Forming>) {
        let mut turn = self.lock();
        let group = Arc::clone(&turn.forming.group);
        let index = turn.forming.add(operation, None);
        let leads = !turn.busy && !turn.gathers();
        turn.busy |= leads;
        let led = leads.then(|| turn.take_forming());
        (group, index, led)
    }

    /// Waits until the group is done, leading it if nobody does. With `patient`, a member and how long it waits to begin.
    pub(crate) fn follow(
        &self,
        group: &Arc<Group>,
        patient: Option<(usize, Duration)>,
        runner: &impl Run,
    ) -> Result<()> {
        let mut since = None;
        loop {
            let state = group.state.load(Ordering::SeqCst);
            match state {
                DONE => return Ok(()),
                LEADERLESS => {
                    if let Some(forming) = self.take_over(group) {
                        self.lead(forming, runner);
                        return Ok(());
                    }
                }
                FORMING => {
                    let since = *since.get_or_insert_with(Instant::now);
                    let left = patient.map(|(_, patience)| patience.saturating_sub(since.elapsed()));
                    if let (Some((index, patience)), Some(Duration::ZERO)) = (patient, left)
                        && self.withdraw(group, index)
                    {
                        return Err(Error::new(
                            ErrorKind::Busy,
                            format!("another transaction of this store took longer than {patience:?}"),
                        ));
                    }
                    futex::wait(&group.state, FORMING, left);
                }
                running => {
                    futex::wait(&group.state, running, None);
                }
            }
        }
    }

    /// Takes a group that nobody leads, unless somebody else has.
    fn take_over(&self, group: &Arc<Group>) -> Option<Forming> {
        let mut turn = self.lock();
        group.is(LEADERLESS).then(|| turn.take_forming())
    }

    /// Takes an operation back that nobody began. Returns false if somebody did.
    fn withdraw(&self, group: &Arc<Group>, index: usize) -> bool {
        let mut turn = self.lock();
        if !group.is(FORMING) {
            return false;
        }
        turn.forming.members[index].operation = None;
        turn.forming.waiting -= 1;
        true
    }

    fn lead(&self, forming: Forming, runner: &impl Run) {
        let Forming { group, members, .. } = forming;
        let mut operations = Vec::with_capacity(members.len());
        let mut callers = Vec::with_capacity(members.len());
        for Member { operation, completion } in members {
            callers.push(match (&operation, completion) {
                (None, _) => Caller::Gone,
                (Some(_), None) => Caller::Waits,
                (Some(_), Some(completion)) => Caller::IsTold(completion),
            });
            operations.extend(operation);
        }
        // The only member is the one that leads.
        let alone = matches!(callers[..], [Caller::Waits]);
        let mut finished = runner.commit(&operations);
        let syncs = finished.sync.is_some();
        if syncs {
            self.lock().syncing += 1;
        }
        self.pass_on();
        runner.finish(&mut finished);
        let mut answers = finished.answers.into_iter().zip(operations);
        let mut completions = Vec::new();
        let mut own = |caller| match caller {
            Caller::Gone => None,
            Caller::Waits => answers.next().map(|(reply, operation)| Answer { reply, _operation: operation }),
            Caller::IsTold(completion) => {
                completions.extend(answers.next().map(|(reply, _)| (completion, reply)));
                None
            }
        };
        let told = group.answers.set(callers.into_iter().map(|caller| Mutex::new(own(caller))).collect());
        debug_assert!(told.is_ok(), "a group is led once");
        group.set(DONE);
        if !alone {
            group.wake(u32::MAX);
        }
        if syncs {
            self.end_sync();
        }
        for (completion, reply) in completions {
            // It wakes a caller through that one's executor. Whatever that does, the others are answered.
            let _ = catch_unwind(AssertUnwindSafe(move || completion(reply)));
        }
    }

    /// Lets the next one lead: a waiting transaction, or a member of the group that has formed.
    fn pass_on(&self) {
        let mut turn = self.lock();
        let group_waits = turn.group_waits() && !turn.gathers();
        let transaction_first = !turn.transaction_last || !group_waits;
        if transaction_first && let Some(ticket) = turn.transactions.pop_front() {
            turn.transaction_last = true;
            ticket.granted.store(1, Ordering::SeqCst);
            futex::wake(&ticket.granted, 1);
            return;
        }
        turn.transaction_last = false;
        if group_waits {
            let group = turn.offer_forming();
            drop(turn);
            group.wake(1);
        } else {
            turn.busy = false;
        }
    }

    /// Lets what has gathered during a sync go, after those that it answered know.
    fn end_sync(&self) {
        let mut turn = self.lock();
        turn.syncing -= 1;
        if !turn.busy && turn.group_waits() && !turn.gathers() {
            let group = turn.offer_forming();
            drop(turn);
            group.wake(1);
        }
    }

    /// Waits for the sole right to write, for at most `patience`. Give it back with [`Turn::end_transaction`].
    pub(crate) fn begin_transaction(&self, patience: Duration) -> Result<()> {
        let ticket = {
            let mut turn = self.lock();
            if !turn.busy {
                turn.busy = true;
                turn.transaction_last = true;
                return Ok(());
            }
            let ticket = Arc::new(Ticket { granted: AtomicU32::new(0) });
            turn.transactions.push_back(Arc::clone(&ticket));
            ticket
        };
        let since = Instant::now();
        while ticket.granted.load(Ordering::SeqCst) == 0 {
            let left = patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                let mut turn = self.lock();
                if ticket.granted.load(Ordering::SeqCst) == 0 {
                    turn.transactions.retain(|other| !Arc::ptr_eq(other, &ticket));
                    return Err(Error::new(ErrorKind::Busy, format!("others kept the store busy for {patience:?}")));
                }
                break;
            }
            futex::wait(&ticket.granted, 0, Some(left));
        }
        Ok(())
    }

    pub(crate) fn end_transaction(&self) {
        self.pass_on();
    }
}
