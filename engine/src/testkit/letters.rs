//! What a test says about messages that reach nobody.

use std::time::Duration;

use super::patience::{PATIENCE, during, within};
use crate::dead_letter::{DeadLetter, DeadLetterReason, DeadLetters};
use crate::node::Node;

/// Sees the dead letters of all cores of a node, from its making on, and fails a test whose
/// messages reach nobody, or somebody they should not.
///
/// # Panics
/// Each method, when something else happens than it expects, or a letter was missed: more came than
/// the node keeps.
#[derive(Debug)]
pub struct DeadLetterProbe {
    node: Node,
    letters: DeadLetters,
    patience: Duration,
}

impl DeadLetterProbe {
    /// A probe of the node of this core.
    pub fn of(node: &Node) -> Self {
        Self {
            node: node.clone(),
            letters: node.dead_letters(),
            patience: PATIENCE,
        }
    }

    /// Waits that long for what is expected, in place of three seconds.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The next letter, which there is one for `reason`.
    pub async fn expect(&mut self, reason: DeadLetterReason) -> DeadLetter {
        let next = within(&self.node, self.patience, self.letters.next()).await;
        self.assert_none_missed();
        match next.flatten() {
            Some(letter) if letter.reason == reason => letter,
            Some(letter) => panic!(
                "a letter for `{reason}` was expected; this came: {}",
                told(&letter)
            ),
            None => panic!("a letter for `{reason}` was expected; none came"),
        }
    }

    /// Lets `span` pass, in which there is none.
    pub async fn expect_none(&mut self, span: Duration) {
        let next = during(&self.node, span, self.letters.next()).await;
        self.assert_none_missed();
        if let Some(letter) = next.flatten() {
            panic!("no letter was expected; this came: {}", told(&letter));
        }
    }

    fn assert_none_missed(&self) {
        let missed = self.letters.missed();
        assert_eq!(missed, 0, "letters came faster than they were read");
    }
}

fn told(letter: &DeadLetter) -> String {
    format!("{letter} ({})", letter.reason)
}
