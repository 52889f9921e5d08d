//! Work without end, for tests of what a node does beside it.

use std::time::{Duration, Instant};

use ringmesh::prelude::*;

#[message(id = "demo.Labour", v = 1, pod)]
pub(crate) struct Labour {
    /// How long it takes.
    millis: u64,
}

protocol! { pub(crate) LabourApi = "demo.labourer" { Labour } }

/// Has its core handle one message behind the other, of 1 to 10 ms.
pub(crate) struct Labourer;

impl Actor for Labourer {
    type Api = LabourApi;

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        // Two, so that one waits while the other is at work.
        for millis in [1, 6] {
            next(cx, millis);
        }
    }
}

impl Handler<Labour> for Labourer {
    fn handle(&mut self, labour: Msg<Labour>, cx: &mut Cx<'_, Self>) {
        let millis = labour.millis.to_native();
        let end = Instant::now() + Duration::from_millis(millis);
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        next(cx, millis % 10 + 1);
    }
}

fn next(cx: &Cx<'_, Labourer>, millis: u64) {
    // The mailbox holds two at most. When the node stops it takes no more, and labour is over.
    let told = cx.me().try_tell(Labour { millis });
    debug_assert!(!matches!(told, Err(SendError::Full(_))), "room for two");
}
