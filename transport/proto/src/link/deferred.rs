//! Answers that have no credit yet. An answer is never refused: its asker waits for it.

use std::collections::{BTreeMap, VecDeque};

use crate::frame::Extension;
use crate::frame::body::ErrorCode;
use crate::limits::ASKS_OUTSTANDING_MAX;
use crate::message::MessageType;

/// An answer, encoded, in the order it has to leave.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) extension: Extension,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Reply {
        message: MessageType,
        payload: Box<[u8]>,
    },
    /// The code is in the extension.
    Error,
}

/// The answers that wait, bounded in count by the asks a link may have outstanding, and in bytes.
#[derive(Debug)]
pub(super) struct Deferred {
    answers: VecDeque<Answer>,
    /// The number of the answer in front; each later one has the next.
    first: u64,
    /// Numbers by correlation, so that a peer which cancels much costs little; not hashed, because
    /// the peer chooses the keys. Of answers with one correlation, the last.
    by_correlation: BTreeMap<u64, u64>,
    payload_bytes: usize,
    payload_bytes_max: usize,
}

/// As many answers wait as asks can be outstanding: the peer asked more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Deferred {
    pub(super) fn new(payload_bytes_max: usize) -> Self {
        Self {
            answers: VecDeque::new(),
            first: 0,
            by_correlation: BTreeMap::new(),
            payload_bytes: 0,
            payload_bytes_max,
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether a payload of `bytes` can be kept.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.payload_bytes + bytes <= self.payload_bytes_max
    }

    /// Keeps a reply, for which there is room.
    pub(super) fn push_reply(
        &mut self,
        message: MessageType,
        extension: Extension,
        payload: Vec<u8>,
    ) -> Result<(), TooMany> {
        self.check_count()?;
        self.payload_bytes += payload.len();
        let payload = payload.into_boxed_slice();
        self.append(Answer {
            extension,
            content: Content::Reply { message, payload },
        });
        Ok(())
    }

    /// Keeps an error, the code of which may say that the reply itself could not be kept.
    pub(super) fn push_error(
        &mut self,
        extension: Extension,
        code: ErrorCode,
    ) -> Result<(), TooMany> {
        self.check_count()?;
        let code = code.to_wire();
        self.append(Answer {
            extension: Extension { code, ..extension },
            content: Content::Error,
        });
        Ok(())
    }

    /// Puts an error in the place of a reply that waits, and gives its bytes back. Says whether one
    /// waited.
    pub(super) fn withdraw(&mut self, correlation: u64, code: ErrorCode) -> bool {
        let Some(number) = self.by_correlation.get(&correlation) else {
            return false;
        };
        let index = usize::try_from(number - self.first).ok();
        let Some(answer) = index.and_then(|index| self.answers.get_mut(index)) else {
            return false;
        };
        if matches!(answer.content, Content::Error) {
            return false;
        }
        self.payload_bytes -= answer.content.bytes();
        answer.content = Content::Error;
        answer.extension.code = code.to_wire();
        true
    }

    pub(super) fn pop(&mut self) -> Option<Answer> {
        let answer = self.answers.pop_front()?;
        self.payload_bytes -= answer.content.bytes();
        let correlation = answer.extension.correlation;
        if self.by_correlation.get(&correlation) == Some(&self.first) {
            self.by_correlation.remove(&correlation);
        }
        self.first += 1;
        Some(answer)
    }

    /// Puts back what [`pop`](Self::pop) took.
    pub(super) fn put_back(&mut self, answer: Answer) {
        self.payload_bytes += answer.content.bytes();
        self.first -= 1;
        self.by_correlation
            .entry(answer.extension.correlation)
            .or_insert(self.first);
        self.answers.push_front(answer);
    }

    fn append(&mut self, answer: Answer) {
        let number = self.first + self.answers.len() as u64;
        let correlation = answer.extension.correlation;
        self.by_correlation.insert(correlation, number);
        self.answers.push_back(answer);
    }

    /// Gives the memory back once nothing waits.
    pub(super) fn shrink(&mut self) {
        if self.answers.is_empty() {
            self.answers = VecDeque::new();
        }
    }

    fn check_count(&self) -> Result<(), TooMany> {
        if self.answers.len() < ASKS_OUTSTANDING_MAX {
            Ok(())
        } else {
            Err(TooMany)
        }
    }
}

impl Content {
    fn bytes(&self) -> usize {
        match self {
            Self::Reply { payload, .. } => payload.len(),
            Self::Error => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageId;

    const MESSAGE: MessageType = MessageType {
        id: MessageId::of("tests.Deferred"),
        version: 1,
        fingerprint: 1,
    };

    fn extension(correlation: u64) -> Extension {
        Extension {
            correlation,
            ..Extension::default()
        }
    }

    fn replies(correlations: &[u64], bytes: usize) -> Deferred {
        let mut deferred = Deferred::new(correlations.len() * bytes);
        for correlation in correlations {
            let kept = deferred.push_reply(MESSAGE, extension(*correlation), vec![1; bytes]);
            kept.unwrap();
        }
        deferred
    }

    fn drained(deferred: &mut Deferred) -> Vec<(u64, u32, usize)> {
        std::iter::from_fn(|| deferred.pop())
            .map(|Answer { extension, content }| {
                (extension.correlation, extension.code, content.bytes())
            })
            .collect()
    }

    #[test]
    fn a_withdrawn_reply_is_an_error_in_its_place_and_its_bytes_are_free() {
        let mut deferred = replies(&[5, 3, 9], 10);
        assert!(!deferred.has_room(1));
        // Numbered by where it stands, also after the front went and came back.
        let front = deferred.pop().unwrap();
        deferred.put_back(front);
        let front = deferred.pop().unwrap();
        assert_eq!(front.extension.correlation, 5);
        assert!(!deferred.withdraw(5, ErrorCode::Cancelled), "it has left");
        deferred.put_back(front);
        assert!(deferred.withdraw(3, ErrorCode::Cancelled));
        assert!(!deferred.withdraw(3, ErrorCode::Cancelled), "it is gone");
        assert!(!deferred.withdraw(4, ErrorCode::Cancelled), "never there");
        assert!(deferred.has_room(10) && !deferred.has_room(11));
        let code = ErrorCode::Cancelled.to_wire();
        assert_eq!(
            drained(&mut deferred),
            [(5, 0, 10), (3, code, 0), (9, 0, 10)]
        );
        assert!(deferred.by_correlation.is_empty());
    }

    #[test]
    fn a_correlation_that_is_used_twice_is_withdrawn_once() {
        let mut deferred = replies(&[7, 7], 1);
        let front = deferred.pop().unwrap();
        deferred.put_back(front);
        assert!(deferred.withdraw(7, ErrorCode::Cancelled));
        assert!(!deferred.withdraw(7, ErrorCode::Cancelled));
        let code = ErrorCode::Cancelled.to_wire();
        assert_eq!(drained(&mut deferred), [(7, 0, 1), (7, code, 0)]);
        assert!(deferred.by_correlation.is_empty());
    }
}
