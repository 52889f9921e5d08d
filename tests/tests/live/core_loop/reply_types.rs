//! Answers of another type than the asker knows: said as such, and the link goes on.

use bytes::Bytes;
use ringmesh::message::Message;
use ringmesh::{Accepts, AskError, Executed, Ref, message, protocol};
use ringmesh_tests::live::messages::{self, ECHO, EchoApi};
use ringmesh_tests::live::node::LiveNode;

/// `tests.Echo` as programs know it whose `tests.Echoed` differs.
macro_rules! other_answer {
    ($module:ident, $id:literal, $version:literal, $number:ty) => {
        mod $module {
            use super::{Bytes, message, protocol};

            #[message(id = "tests.Echo", v = 1, reply = Echoed)]
            #[derive(Clone, Debug)]
            pub(super) struct Echo {
                pub(super) number: u64,
                pub(super) body: Bytes,
            }

            #[message(id = $id, v = $version)]
            #[derive(Clone, Debug)]
            pub(super) struct Echoed {
                pub(super) number: $number,
                pub(super) body: Bytes,
            }

            protocol! {
                pub(super) EchoApi = "tests.echo" { Echo }
            }
        }
    };
}

other_answer!(another_message, "tests.Repeated", 1, u64);
other_answer!(another_version, "tests.Echoed", 2, u64);
other_answer!(another_layout, "tests.Echoed", 1, [u8; 8]);

#[test]
fn an_answer_of_another_type_is_said_and_the_link_lives() {
    let server = LiveNode::start_serving();
    let client = LiveNode::start();
    let path = server.path(ECHO);
    client.run(move |node| async move {
        let body = || Bytes::from_static(b"of any type");
        let right: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
        let other: Ref<another_message::EchoApi> = node.resolve(&path).await.expect("the same");
        mismatch(
            other,
            another_message::Echo {
                number: 1,
                body: body(),
            },
        )
        .await;
        let other: Ref<another_version::EchoApi> = node.resolve(&path).await.expect("the same");
        mismatch(
            other,
            another_version::Echo {
                number: 2,
                body: body(),
            },
        )
        .await;
        let other: Ref<another_layout::EchoApi> = node.resolve(&path).await.expect("the same");
        mismatch(
            other,
            another_layout::Echo {
                number: 3,
                body: body(),
            },
        )
        .await;
        let answer = right
            .ask(messages::Echo {
                number: 4,
                body: body(),
            })
            .await;
        assert_eq!(answer.expect("an answer").number, 4);
    });
    let counters = client.counters();
    assert_eq!((counters.dialled, counters.links), (1, 1), "{counters:?}");
    assert_eq!(counters.closed_for_fault, 0, "{counters:?}");
    // Each answer reached its asker.
    assert_eq!(counters.dead_received, 0, "{counters:?}");
    assert_eq!(server.counters().closed_for_fault, 0);
}

async fn mismatch<P: Accepts<M>, M: Message>(to: Ref<P>, question: M)
where
    M::Reply: Message,
{
    let error = to.ask(question).await.err().expect("another type");
    let executed = error.executed();
    assert_eq!((error, executed), (AskError::ReplyMismatch, Executed::Yes));
}
