//! The floor of `pubsub`: one pointer that is pushed to bounded mailboxes, and popped out of each
//! through a dynamic call that reads 8 bytes.
//!
//! A message is written once, and kept for as long as some mailbox has a pointer to it: the pointer
//! counts. Some messages are pushed to all mailboxes, then all of those are emptied, so what is
//! read is in the cache. There is one thread, no socket, no checksum, and nobody is woken.

use std::collections::VecDeque;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::FloorError;
use crate::cost::Meter;
use crate::pattern;
use crate::plan::{Outcome, Plan};

/// Messages that a mailbox has room for, as a queue of the engine has.
const ROOM: usize = 1024;

/// Messages that are pushed before they are popped.
const BATCH: usize = 64;

/// Bytes of a message's number.
const NUMBER_BYTES: usize = 8;

/// Who is given a message.
trait Subscriber {
    fn take(&mut self, message: &[u8]);

    /// How many messages it has read, and the sum of their numbers.
    fn read(&self) -> (u64, u64);
}

#[derive(Default)]
struct Reader {
    messages: u64,
    sum: u64,
}

impl Subscriber for Reader {
    fn take(&mut self, message: &[u8]) {
        let number = message
            .first_chunk()
            .map_or(0, |it| u64::from_le_bytes(*it));
        self.sum = self.sum.wrapping_add(number);
        self.messages += 1;
    }

    fn read(&self) -> (u64, u64) {
        (self.messages, self.sum)
    }
}

struct Mailbox {
    waiting: VecDeque<Rc<[u8]>>,
    subscriber: Box<dyn Subscriber>,
}

impl Mailbox {
    fn new() -> Self {
        Self {
            waiting: VecDeque::with_capacity(ROOM),
            // Hidden, or the call would not be dynamic.
            subscriber: black_box(Box::new(Reader::default())),
        }
    }

    fn push(&mut self, message: &Rc<[u8]>) -> Result<(), FloorError> {
        if self.waiting.len() >= ROOM {
            return Err(FloorError::Confused);
        }
        self.waiting.push_back(Rc::clone(message));
        Ok(())
    }

    fn empty(&mut self) {
        while let Some(message) = self.waiting.pop_front() {
            self.subscriber.take(&message);
        }
    }
}

/// All of it.
struct FanOut {
    mailboxes: Vec<Mailbox>,
    /// Nobody else points at any of these when all mailboxes are empty.
    messages: Vec<Rc<[u8]>>,
    next_number: u64,
}

/// Plays the round of `plan` on this thread.
///
/// # Errors
/// When it has no subscribers.
pub(crate) fn run(plan: &Plan) -> Result<Outcome, FloorError> {
    let crowd = plan.round.crowd.ok_or(FloorError::Confused)?;
    let payload = pattern::first(plan.round.payload_bytes);
    let mut fan_out = FanOut {
        mailboxes: (0..crowd.subscribers).map(|_| Mailbox::new()).collect(),
        messages: (0..BATCH).map(|_| Rc::from(payload)).collect(),
        next_number: 0,
    };
    fan_out.publish_for(plan.round.warm_up)?;
    let before = fan_out.read();
    let first = fan_out.next_number;
    let meter = Meter::start();
    let begun = Instant::now();
    fan_out.publish_for(plan.round.measured)?;
    let elapsed = begun.elapsed();
    let cost = meter.cost();
    let now = fan_out.read();
    let copies = u64::from(crowd.subscribers);
    let (messages, sum) = (now.0 - before.0, now.1.wrapping_sub(before.1));
    let expected = (fan_out.next_number - first) * copies;
    let numbers = (first..fan_out.next_number).fold(0, u64::wrapping_add);
    Ok(Outcome {
        elapsed,
        messages,
        lost: expected.saturating_sub(messages),
        corrupt: u64::from(messages == expected && sum != numbers.wrapping_mul(copies)),
        cost,
        latency: None,
        latency_from_schedule: None,
        engine: None,
        crowd: None,
    })
}

impl FanOut {
    fn publish_for(&mut self, duration: Duration) -> Result<(), FloorError> {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            for message in &mut self.messages {
                let bytes = Rc::get_mut(message).ok_or(FloorError::Confused)?;
                bytes[..NUMBER_BYTES].copy_from_slice(&self.next_number.to_le_bytes());
                self.next_number += 1;
                for mailbox in &mut self.mailboxes {
                    mailbox.push(message)?;
                }
            }
            self.mailboxes.iter_mut().for_each(Mailbox::empty);
        }
        Ok(())
    }

    fn read(&self) -> (u64, u64) {
        let read = self.mailboxes.iter().map(|it| it.subscriber.read());
        read.fold((0, 0), |all, one| {
            (all.0 + one.0, all.1.wrapping_add(one.1))
        })
    }
}
