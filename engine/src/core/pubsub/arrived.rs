//! A message that has arrived for subscribers of a core, and what of it they share.

use std::any::Any;
use std::rc::Rc;

use ringmesh_proto::message::Message;
use ringmesh_transport::buffer::Chunk;

use super::super::Core;
use super::Publisher;
use crate::message::Msg;

/// What all subscribers of a core hold of one message: a subscriber that has it waiting, or reads
/// it, holds one pointer.
pub(crate) struct Letter<M: Message> {
    pub(crate) message: Msg<M>,
    /// What it was published to.
    pub(crate) topic: Rc<str>,
    /// Who published it.
    pub(crate) publisher: Rc<Publisher>,
}

/// A message that has arrived for subscribers of this core.
pub(crate) struct Arrived {
    bytes: Chunk,
    /// What it was published to, if some subscription of this core is to more than one topic.
    topic: Option<Rc<str>>,
    publisher: Rc<Publisher>,
    /// The [`Letter`] of it, once it was found to be of a type.
    letter: Option<Rc<dyn Any>>,
    is_malformed: bool,
}

impl Arrived {
    pub(super) fn new(bytes: Chunk, topic: Option<Rc<str>>, publisher: Rc<Publisher>) -> Self {
        Self {
            bytes,
            topic,
            publisher,
            letter: None,
            is_malformed: false,
        }
    }

    pub(crate) fn bytes(&self) -> &Chunk {
        &self.bytes
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// It as a letter, if it is an `M`; if it is not, that is counted once. Whoever subscribes to
    /// one topic says which.
    #[inline]
    pub(crate) fn letter<M: Message>(
        &mut self,
        core: &Core,
        topic: &Rc<str>,
    ) -> Option<Rc<Letter<M>>> {
        let known = self.letter.clone().and_then(|it| it.downcast().ok());
        known.or_else(|| self.open(core, topic))
    }

    fn open<M: Message>(&mut self, core: &Core, topic: &Rc<str>) -> Option<Rc<Letter<M>>> {
        let Ok(message) = Msg::new(self.bytes.clone()) else {
            let is_first = !std::mem::replace(&mut self.is_malformed, true);
            core.tally.published_malformed.add(u64::from(is_first));
            return None;
        };
        let topic = Rc::clone(self.topic.as_ref().unwrap_or(topic));
        let letter = Rc::new(Letter {
            message,
            topic,
            publisher: Rc::clone(&self.publisher),
        });
        self.letter = Some(Rc::clone(&letter) as Rc<dyn Any>);
        Some(letter)
    }
}
