//! What a message brings besides its bytes: that somebody asks, or for which node it is told.

use std::cell::Cell;

use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::Question;

/// What a message brings besides its bytes. One place for all of it, so that a message without any
/// moves no more than one of questions and plain tells would.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Extra {
    /// Nothing.
    #[default]
    None,
    /// Somebody waits for an answer.
    Question(Question),
    /// A core of this process tells it for that node, which published it.
    Publisher(Uid),
}

impl Extra {
    /// Whether it came with the extension of a frame.
    #[inline]
    pub(crate) fn is_some(self) -> bool {
        !matches!(self, Self::None)
    }

    /// What is known of the question, if it is one.
    #[inline]
    pub(crate) fn question(self) -> Option<Question> {
        match self {
            Self::Question(question) => Some(question),
            Self::None | Self::Publisher(_) => None,
        }
    }

    /// The number of the question on its link.
    #[inline]
    pub(crate) fn correlation(self) -> Option<u64> {
        self.question().map(|it| it.correlation)
    }

    /// When whoever asks gives it up.
    #[inline]
    pub(crate) fn deadline(self) -> Option<Instant> {
        self.question().map(|it| it.deadline)
    }

    /// The node that published it, if that is another one.
    #[inline]
    pub(crate) fn publisher(self) -> Option<Uid> {
        match self {
            Self::Publisher(uid) => Some(uid),
            Self::None | Self::Question(_) => None,
        }
    }
}

/// What is known of the message that a handler runs for, besides where it came from.
#[derive(Debug, Default)]
pub(crate) struct Handled {
    /// The number of the question, until it is answered.
    pub(crate) question: Cell<Option<u64>>,
    /// What it brought. Whoever handles questions may keep their deadlines elsewhere.
    pub(crate) extra: Cell<Extra>,
}

impl Handled {
    /// The node that published it, if that is another one.
    #[inline]
    pub(crate) fn publisher(&self) -> Option<Uid> {
        self.extra.get().publisher()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It is moved with every message that waits.
    #[test]
    fn it_takes_no_more_than_what_is_known_of_a_question() {
        assert_eq!(size_of::<Extra>(), size_of::<Option<Question>>());
    }
}
