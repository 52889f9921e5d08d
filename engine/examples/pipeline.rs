//! A pipeline over three cores: the slowest stage sets the pace, and nothing is lost.

use ringmesh::prelude::*;
use ringmesh::{AsyncHandler, CoreId, async_handler};

#[message(id = "demo.Item", v = 1, reply = Item, pod)]
struct Item {
    number: u64,
}

protocol! { StageApi = "demo.stage" { Item } }

struct Double(Ref<StageApi>);

impl Actor for Double {
    type Api = StageApi;
}

#[async_handler]
impl AsyncHandler<Item> for Double {
    async fn handle(&mut self, item: Msg<Item>, _: &mut Cx<'_, Self>) -> Item {
        let number = 2 * item.number.to_native();
        // This stage waits for the next, and whoever sends more than fits for this one.
        self.0
            .ask(Item { number })
            .await
            .expect("it runs")
            .deserialize()
    }
}

struct Sum(u64);

impl Actor for Sum {
    type Api = StageApi;
}

#[async_handler]
impl AsyncHandler<Item> for Sum {
    async fn handle(&mut self, item: Msg<Item>, cx: &mut Cx<'_, Self>) -> Item {
        cx.node().sleep(std::time::Duration::from_millis(1)).await;
        self.0 += item.number.to_native(); // the sum so far
        Item { number: self.0 }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let node = Engine::node("demo").cores(3);
    let node = node.set("actor.mailbox_messages_max", "8");
    node.run(|node| async move {
        let sum = node.spawn_on(CoreId(2), || Sum(0)).await?;
        let double = node.spawn_on(CoreId(1), move || Double(sum)).await?;
        for number in 1..200 {
            double.tell(Item { number }).await?; // waits while there is no room
        }
        println!("{}", double.ask(Item { number: 200 }).await?.number);
        Ok(())
    })?
}
