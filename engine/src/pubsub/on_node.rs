//! Topics, as a node publishes and subscribes to them.

use super::{NameError, Pattern, Publisher, Subscribe, Topic};
use crate::message::Message;
use crate::node::Node;

impl Node {
    /// Begins to subscribe to a topic on this core; [`begin`](Subscribe::begin) does.
    ///
    /// # Errors
    /// [`NameError`]: the name of the topic is none.
    pub fn subscribe<M: Message>(&self, topic: &Topic<M>) -> Result<Subscribe<M>, NameError> {
        // A name with a wildcard is none of a topic.
        topic.checked()?;
        Ok(self.subscribe_to(Pattern::new(topic.name())?))
    }

    /// The same to all topics whose names match a pattern, as far as their messages are `M`s.
    pub fn subscribe_to<M: Message>(&self, pattern: Pattern) -> Subscribe<M> {
        Subscribe::new(&self.core, pattern)
    }

    /// Publishes to a topic from this core.
    ///
    /// # Errors
    /// [`NameError`]: the name of the topic is none.
    pub fn publisher<M: Message>(&self, topic: &Topic<M>) -> Result<Publisher<M>, NameError> {
        Ok(Publisher::new(&self.core, topic.checked()?))
    }

    /// The names of all topics and patterns that somebody subscribes to, on nodes that can be
    /// reached, as this core knows.
    pub fn topics(&self) -> Vec<String> {
        let topics = self.core.topics();
        let names = topics.iter().flat_map(|it| it.names());
        names.map(str::to_owned).collect()
    }
}
