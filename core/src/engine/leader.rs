//! Group commit: callers that wait together are served by one of them.
//!
//! The first caller to find nobody leading leads: its own thread runs what waits, in one commit. Those who come meanwhile
//! form the next group; when the commit is done, one of them is told to lead it, while the sync of the first still runs.
//! An uncontended call hops no thread.
//!
//! Sends that wait for the disk gather: those that come during a sync go into one commit after it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::operation::{Operation, Reply};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::futex;

/// Called with the answer of an operation that nobody waits for.
pub(crate) type Completion = Box<dyn FnOnce(Result<Reply>) + Send>;

const FORMING: u32 = 0;
/// Nobody leads: a member of the group must.
const LEADERLESS: u32 = 1;
const RUNNING: u32 = 2;
const DONE: u32 = 3;

/// Operations that go into one commit, or a few.
pub(crate) struct Group {
    state: AtomicU32,
    members: Mutex<Vec<Member>>,
    /// How many operations wait in it.
    waiting: AtomicUsize,
    /// Whether one of them does not wait for the disk.
    hurried: AtomicBool,
}

struct Member {
    operation: Option<Operation>,
    completion: Option<Completion>,
    answer: Option<Result<Reply>>,
}

impl Group {
    fn new() -> Arc<Self> {
        Arc::new(Group {
            state: AtomicU32::new(FORMING),
            members: Mutex::new(Vec::new()),
            waiting: AtomicUsize::new(0),
            hurried: AtomicBool::new(false),
        })
    }

    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: u32, wakes: u32) {
        self.state.store(state, Ordering::SeqCst);
        if wakes > 0 {
            futex::wake(&self.state, wakes);
        }
    }

    fn add(&self, operation: Operation, completion: Option<Completion>) -> usize {
        let synced = matches!(operation, Operation::Send { synced: true, .. });
        let mut members = self.members();
        members.push(Member { operation: Some(operation), completion, answer: None });
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.hurried.fetch_or(!synced, Ordering::SeqCst);
        members.len() - 1
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn is_patient(&self) -> bool {
        !self.hurried.load(Ordering::SeqCst)
    }

    fn take_answer(&self, index: usize) -> Result<Reply> {
        self.members()[index].answer.take().unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Storage, "invariant: the leader left an operation without an answer"))
        })
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
    forming: Arc<Group>,
    /// Transactions of the application that wait for their turn.
    transactions: VecDeque<Arc<Ticket>>,
    /// Whose turn it is when both wait: they alternate.
    transaction_last: bool,
}

impl TurnState {
    /// Whether the forming group is to wait for the sync that is under way.
    fn gathers(&self) -> bool {
        self.syncing > 0 && self.forming.is_patient()
    }

    fn group_waits(&self) -> bool {
        self.forming.waiting() > 0
    }
}

/// A transaction's place in the queue.
pub(crate) struct Ticket {
    granted: AtomicU32,
}

/// What runs a group: one commit, with its answers; then the sync they need.
pub(crate) trait Run {
    /// Runs the operations and returns their answers, in order.
    fn commit(&self, operations: &[&Operation]) -> Finished;
    /// Makes the answers true: syncs what must be on disk, wakes whom it concerns. May change answers to errors.
    fn finish(&self, finished: &mut Finished);
}

/// A group's answers, before they are handed out.
pub(crate) struct Finished {
    pub(crate) answers: Vec<Result<Reply>>,
    /// The number of the last commit that must be on disk before anyone is answered.
    pub(crate) sync: Option<u64>,
    /// The count of sends, synced by others, that the answers wait for, and the number of the commit that has them.
    pub(crate) awaits: Option<(u32, u64)>,
    pub(crate) wakes: Vec<crate::engine::context::Wake>,
}

impl Turn {
    pub(crate) fn new() -> Self {
        Turn {
            state: Mutex::new(TurnState {
                busy: false,
                syncing: 0,
                forming: Group::new(),
                transactions: VecDeque::new(),
                transaction_last: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, TurnState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an operation and waits for its answer, for at most `patience` until it begins.
    pub(crate) fn call(&self, operation: Operation, patience: Duration, runner: &impl Run) -> Result<Reply> {
        let (group, index, lead) = self.join(operation);
        if lead {
            self.lead(&group, runner);
            return group.take_answer(index);
        }
        self.follow(&group, Some((index, patience)), runner)?;
        group.take_answer(index)
    }

    /// Adds an operation that is answered through `completion`. Somebody must then [`Turn::follow`] the group, and until
    /// somebody does, more may join it: calls that a program makes in one go share a commit.
    #[cfg(feature = "tokio")]
    pub(crate) fn submit(&self, operation: Operation, completion: Completion) -> Arc<Group> {
        let mut turn = self.lock();
        let group = Arc::clone(&turn.forming);
        group.add(operation, Some(completion));
        if !turn.busy && !turn.gathers() {
            turn.busy = true;
            group.set(LEADERLESS, 1);
        }
        group
    }

    fn join(&self, operation: Operation) -> (Arc<Group>, usize, bool) {
        let mut turn = self.lock();
        let group = Arc::clone(&turn.forming);
        let index = group.add(operation, None);
        let lead = !turn.busy && !turn.gathers();
        if lead {
            turn.busy = true;
            turn.forming = Group::new();
            group.state.store(RUNNING, Ordering::SeqCst);
        }
        (group, index, lead)
    }

    /// Waits until the group is done, leading it if nobody does. With `patient`, a member and how long it waits to begin.
    pub(crate) fn follow(
        &self,
        group: &Arc<Group>,
        patient: Option<(usize, Duration)>,
        runner: &impl Run,
    ) -> Result<()> {
        let since = Instant::now();
        loop {
            let state = group.state.load(Ordering::SeqCst);
            match state {
                DONE => return Ok(()),
                LEADERLESS => {
                    if self.take_over(group) {
                        self.lead(group, runner);
                        return Ok(());
                    }
                }
                _ => {
                    let left = patient.map(|(_, patience)| patience.saturating_sub(since.elapsed()));
                    if let (FORMING, Some((index, patience)), Some(Duration::ZERO)) = (state, patient, left)
                        && self.withdraw(group, index)
                    {
                        return Err(Error::new(
                            ErrorKind::Busy,
                            format!("another transaction of this store took longer than {patience:?}"),
                        ));
                    }
                    let sleep = if state == FORMING { left } else { None };
                    futex::wait(&group.state, state, sleep);
                }
            }
        }
    }

    fn take_over(&self, group: &Arc<Group>) -> bool {
        let mut turn = self.lock();
        let won = group.state.compare_exchange(LEADERLESS, RUNNING, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if won && Arc::ptr_eq(&turn.forming, group) {
            turn.forming = Group::new();
        }
        won
    }

    /// Takes an operation back that nobody began. Returns false if somebody did.
    fn withdraw(&self, group: &Arc<Group>, index: usize) -> bool {
        let turn = self.lock();
        if !Arc::ptr_eq(&turn.forming, group) || group.state.load(Ordering::SeqCst) != FORMING {
            return false;
        }
        group.members()[index].operation = None;
        group.waiting.fetch_sub(1, Ordering::SeqCst);
        true
    }

    fn lead(&self, group: &Group, runner: &impl Run) {
        let taken: Vec<(usize, Operation)> = {
            let mut members = group.members();
            let waiting = members.iter_mut().enumerate();
            waiting.filter_map(|(index, member)| member.operation.take().map(|operation| (index, operation))).collect()
        };
        let operations: Vec<&Operation> = taken.iter().map(|(_, operation)| operation).collect();
        let mut finished = runner.commit(&operations);
        let syncs = finished.sync.is_some();
        if syncs {
            self.lock().syncing += 1;
        }
        self.pass_on();
        runner.finish(&mut finished);
        let mut completions = Vec::new();
        let alone;
        {
            let mut members = group.members();
            alone = members.len() == 1 && members[0].completion.is_none();
            for ((index, _), answer) in taken.iter().zip(finished.answers) {
                match members[*index].completion.take() {
                    Some(completion) => completions.push((completion, answer)),
                    None => members[*index].answer = Some(answer),
                }
            }
        }
        // The only member is the one that leads.
        group.set(DONE, if alone { 0 } else { i32::MAX as u32 });
        if syncs {
            self.end_sync();
        }
        for (completion, answer) in completions {
            completion(answer);
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
            turn.forming.set(LEADERLESS, 1);
        } else {
            turn.busy = false;
        }
    }

    /// Lets what has gathered during a sync go, after those that it answered know.
    fn end_sync(&self) {
        let mut turn = self.lock();
        turn.syncing -= 1;
        if !turn.busy && turn.group_waits() && !turn.gathers() {
            turn.busy = true;
            turn.forming.set(LEADERLESS, 1);
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
