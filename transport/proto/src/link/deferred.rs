//! Answers that have no credit yet. An answer is never refused: its asker waits for it.

use std::collections::VecDeque;

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
        self.answers.push_back(Answer {
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
        self.answers.push_back(Answer {
            extension: Extension { code, ..extension },
            content: Content::Error,
        });
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<Answer> {
        let answer = self.answers.pop_front()?;
        self.payload_bytes -= answer.content.bytes();
        Some(answer)
    }

    /// Puts back what [`pop`](Self::pop) took.
    pub(super) fn put_back(&mut self, answer: Answer) {
        self.payload_bytes += answer.content.bytes();
        self.answers.push_front(answer);
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
