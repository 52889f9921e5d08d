//! A link that has nothing to do with a fault, and must not notice it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{AskError, Ref};

use super::messages::{Echo, EchoApi};
use super::node::{LiveNode, Pending};

/// The longest a bystander's question may take. Far above what an undisturbed one takes, even when
/// many tests share two cores; below every deadline that a faulty peer is granted.
const PATIENCE: Duration = Duration::from_millis(1900);

/// The pause between two questions, so that many bystanders leave room for what they watch.
const PACE: Duration = Duration::from_millis(2);

/// Asks an echo, one question after the other, while something else goes on at the same node.
#[derive(Debug)]
pub struct Bystander {
    node: LiveNode,
    enough: Arc<AtomicBool>,
    asking: Pending<Passage>,
}

/// What a bystander saw.
#[derive(Debug)]
struct Passage {
    answered: u64,
    failed: Option<AskError>,
    slowest: Duration,
}

impl Bystander {
    /// Begins to ask the echo at `path`; returns after the first answer.
    pub fn of(path: &str) -> Self {
        let node = LiveNode::start();
        let path = path.to_owned();
        let enough = Arc::new(AtomicBool::new(false));
        let is_enough = Arc::clone(&enough);
        let echo = node.run(move |node| async move {
            let echo = node
                .resolve::<EchoApi>(&path)
                .await
                .expect("the echo is there");
            ask(&echo, 0)
                .await
                .expect("the echo answers before there is a fault");
            echo
        });
        let asking = node.begin(move |node| async move {
            let mut passage = Passage {
                answered: 0,
                failed: None,
                slowest: Duration::ZERO,
            };
            while passage.failed.is_none() {
                // Read before the question, so that the last one is asked after the fault.
                let last = is_enough.load(Ordering::Acquire);
                let begin = Instant::now();
                match ask(&echo, passage.answered + 1).await {
                    Ok(()) => passage.answered += 1,
                    Err(error) => passage.failed = Some(error),
                }
                passage.slowest = passage.slowest.max(begin.elapsed());
                if last {
                    break;
                }
                node.sleep(PACE).await;
            }
            passage
        });
        Self {
            node,
            enough,
            asking,
        }
    }

    /// Asks once more, and checks that nothing was noticed. Returns how often the echo answered.
    ///
    /// # Panics
    /// If a question failed, or the bystander's link was not the same all the time.
    pub fn saw_nothing(self) -> u64 {
        self.enough.store(true, Ordering::Release);
        let passage = self.asking.finish();
        assert_eq!(
            passage.failed, None,
            "the bystander was disturbed: {passage:?}"
        );
        assert!(passage.answered > 0, "the bystander asked nothing");
        let counters = self.node.counters();
        assert_eq!(
            counters.dialled, 1,
            "the bystander had to dial again: {counters:?}"
        );
        assert_eq!(
            counters.dead_sent, 0,
            "the bystander lost messages: {counters:?}"
        );
        assert_eq!(
            counters.links, 1,
            "the bystander lost its link: {counters:?}"
        );
        passage.answered + 1
    }
}

async fn ask(echo: &Ref<EchoApi>, number: u64) -> Result<(), AskError> {
    let question = Echo {
        number,
        body: Bytes::from_static(b"bystander"),
    };
    let answer = echo.ask(question).timeout(PATIENCE).await?;
    assert_eq!(answer.number, number, "the answer to another question");
    Ok(())
}
