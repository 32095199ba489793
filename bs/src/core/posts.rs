//! Sends without a session: who waits for which, and what the last ones became.
//!
//! A post is one call that waits for the result of a message. The same message (sender, id, target
//! and body) posted twice at once is one send, and both calls get its result. Once the last call
//! that waits is gone, its send is dropped like those of a session that is over: what is on its way
//! may arrive, but nothing is sent later that could overtake what the caller has meanwhile sent
//! through another BS.
//!
//! What was `delivered` or `stored` is remembered for a while, so that a retry gets the same
//! answer without another way through the owner, whatever became of the target's session since.
//! Nothing relies on the memory: without it a retry goes the way of any repeat.

use std::collections::{HashMap, VecDeque};

use smallvec::SmallVec;
use wardlink_wire::terminal::UpSend;
use wardlink_wire::{EndId, MessageId, Outcome, Reason};
use xxhash_rust::xxh3::Xxh3;

use super::api::{Action, Millis, RequestId};
use super::upstream::{Asker, OpenSend};
use super::{Core, Results};

/// Calls that wait for one message: more are refused. A caller that gives up after a tenth of the
/// send deadline, and tries again, is below it.
const WAIT_FOR_ONE_MAX: usize = 16;
/// A result is remembered for so long, in milliseconds: the dedupe window of a session.
const REMEMBER_MS: Millis = 120_000;
/// Results that are remembered, the oldest go first: with ids of the greatest length 350 bytes
/// each are 11 MiB, of the usual length 6 MiB. A BS that answers 273 posts a second remembers
/// each for the whole time.
const REMEMBER_MAX: usize = 32_768;

/// A message by its sender and the sender's id.
type Key = (EndId, MessageId);

#[derive(Debug)]
struct Post {
    order: u64,
    waiting: SmallVec<[RequestId; 1]>,
}

#[derive(Debug)]
struct Remembered {
    content: u128,
    outcome: Outcome,
}

/// All calls that wait, and the memory of results.
#[derive(Debug)]
pub(super) struct Posts {
    open: HashMap<Key, Post, ahash::RandomState>,
    /// What each call waits for, and whose it is.
    calls: HashMap<RequestId, (Key, EndId), ahash::RandomState>,
    of_caller: HashMap<EndId, usize, ahash::RandomState>,
    results: HashMap<Key, Remembered, ahash::RandomState>,
    /// The same by age.
    ages: VecDeque<(Key, Millis)>,
    seed: u64,
}

impl Posts {
    pub(super) fn new(seed: u64) -> Self {
        let hasher = |n| ahash::RandomState::with_seeds(seed, 13, 14, n);
        Self {
            open: HashMap::with_hasher(hasher(15)),
            calls: HashMap::with_hasher(hasher(16)),
            of_caller: HashMap::with_hasher(hasher(17)),
            results: HashMap::with_hasher(hasher(18)),
            ages: VecDeque::new(),
            seed,
        }
    }

    /// Calls that wait.
    pub(super) fn waiting(&self) -> usize {
        self.calls.len()
    }

    fn of(&self, caller: &EndId) -> usize {
        self.of_caller.get(caller).copied().unwrap_or(0)
    }

    fn wait(&mut self, request: RequestId, key: Key, caller: EndId) {
        *self.of_caller.entry(caller.clone()).or_default() += 1;
        self.calls.insert(request, (key, caller));
    }

    /// A call waits no more; for what it did.
    fn leave(&mut self, request: RequestId) -> Option<Key> {
        let (key, caller) = self.calls.remove(&request)?;
        if let Some(count) = self.of_caller.get_mut(&caller) {
            *count -= 1;
            if *count == 0 {
                self.of_caller.remove(&caller);
            }
        }
        Some(key)
    }

    fn content(&self, to: &EndId, body: &[u8]) -> u128 {
        let mut hash = Xxh3::with_seed(self.seed);
        hash.update(to.as_str().as_bytes());
        hash.update(b"/");
        hash.update(body);
        hash.digest128()
    }

    fn remember(&mut self, key: Key, content: u128, outcome: Outcome, now: Millis) {
        // The same key comes again only after it was forgotten, or by calls that were open
        // together with other content and were refused.
        if self.results.insert(key.clone(), Remembered { content, outcome }).is_none() {
            self.ages.push_back((key, now));
        }
        if self.ages.len() > REMEMBER_MAX
            && let Some((oldest, _)) = self.ages.pop_front()
        {
            self.results.remove(&oldest);
        }
    }

    /// Forgets the results that are older than the memory reaches.
    pub(super) fn forget_old(&mut self, now: Millis) {
        while let Some((_, at)) = self.ages.front()
            && at + REMEMBER_MS <= now
            && let Some((key, _)) = self.ages.pop_front()
        {
            self.results.remove(&key);
        }
    }
}

impl Core {
    pub(super) fn post(
        &mut self,
        request: RequestId,
        caller: EndId,
        from: EndId,
        send: UpSend,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        let mut refuse = |results: &mut Results, reason| {
            results.count(Outcome::Rejected, Some(reason), None);
            actions.push(Action::Posted(request, Outcome::Rejected, Some(reason)));
        };
        if self.is_too_large(&send) {
            return refuse(&mut self.results, Reason::TooLarge);
        }
        let key = (from, send.id.clone());
        if let Some(known) = self.posts.results.get(&key) {
            if known.content != self.posts.content(&send.to, &send.body) {
                return refuse(&mut self.results, Reason::IdReused);
            }
            self.counters.posts_remembered += 1;
            return actions.push(Action::Posted(request, known.outcome, None));
        }
        let open = self.posts.open.get(&key);
        if open.is_some_and(|post| !self.up.is_same(post.order, &send)) {
            return refuse(&mut self.results, Reason::IdReused);
        }
        if self.is_stopping() {
            return refuse(&mut self.results, Reason::Stopping);
        }
        if self.posts.waiting() >= self.config.posts
            || self.posts.of(&caller) >= self.config.posts_of_one
            || open.is_some_and(|post| post.waiting.len() >= WAIT_FOR_ONE_MAX)
            || open.is_none() && self.is_full_for(&send)
        {
            self.counters.posts_refused += 1;
            return refuse(&mut self.results, Reason::Overloaded);
        }
        self.posts.wait(request, key.clone(), caller);
        if let Some(post) = self.posts.open.get_mut(&key) {
            return post.waiting.push(request);
        }
        let deadline = now + Millis::from(self.config.deadline_ms);
        let partition = send.to.partition();
        let order =
            self.up.push(OpenSend::new(Asker::Posts, key.0.clone(), send, deadline, self.us));
        self.posts.open.insert(key, Post { order, waiting: SmallVec::from_buf([request]) });
        self.flush(partition, actions);
    }

    /// Nobody waits for this call. The last one takes the send with it.
    pub(super) fn post_gone(&mut self, request: RequestId) {
        let Some(key) = self.posts.leave(request) else { return };
        let Some(post) = self.posts.open.get_mut(&key) else { return };
        post.waiting.retain(|waiting| *waiting != request);
        if post.waiting.is_empty()
            && let Some(post) = self.posts.open.remove(&key)
        {
            self.up.settle(post.order);
        }
    }

    /// The result of a send that was posted.
    pub(super) fn posted(
        &mut self,
        send: &OpenSend,
        outcome: Outcome,
        reason: Option<Reason>,
        actions: &mut Vec<Action>,
    ) {
        let key = (send.from.clone(), send.id.clone());
        let Some(post) = self.posts.open.remove(&key) else { return };
        for request in post.waiting {
            self.posts.leave(request);
            actions.push(Action::Posted(request, outcome, reason));
        }
        // Anything else may be otherwise the next time.
        if matches!(outcome, Outcome::Delivered | Outcome::Stored) {
            let content = self.posts.content(&send.to, &send.body);
            self.posts.remember(key, content, outcome, self.now);
        }
    }

    /// This BS ends: what has no result now gets none from it.
    pub(super) fn stop_posts(&mut self, actions: &mut Vec<Action>) {
        let mut orders: Vec<u64> = self.posts.open.values().map(|post| post.order).collect();
        orders.sort_unstable();
        for order in orders {
            let Some(send) = self.up.settle(order) else { continue };
            let outcome = if send.sent { Outcome::Unknown } else { Outcome::Rejected };
            self.posted(&send, outcome, Some(Reason::Stopping), actions);
        }
    }
}
