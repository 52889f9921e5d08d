//! A service that is found by what it does, on whatever node it runs, and elsewhere when one dies.
//!
//! ```sh
//! cargo run --example lookup                   # serves, and prints its address
//! cargo run --example lookup -- ADDRESS        # serves too, in the same cluster
//! cargo run --example lookup -- ADDRESS ask    # prints who answers; stop one of them meanwhile
//! ```

use std::time::Duration;

use ringmesh::cluster::ClusterSettings;
use ringmesh::prelude::*;
use ringmesh::registry::ServiceKey;

#[message(id = "lookup.Who", v = 1, reply = Me)]
struct Who;
#[message(id = "lookup.Me", v = 1)]
struct Me(String);
protocol! { WhoApi = "lookup.who" { Who } }

const SERVICE: ServiceKey<WhoApi> = ServiceKey::new("who");

struct Server;
impl Actor for Server {
    type Api = WhoApi;
}
impl Handler<Who> for Server {
    fn handle(&mut self, _: Msg<Who>, cx: &mut Cx<'_, Self>) -> Me {
        Me(cx.node().address().to_string())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut settings = ClusterSettings::default();
    let seed = arguments.first().map(|seed| seed.parse()).transpose()?;
    settings.seeds = Some(seed.into_iter().collect());
    let engine = Engine::node("demo").cluster(settings);
    engine.run(|node| async move {
        if arguments.len() < 2 {
            node.register(&SERVICE, &node.spawn(Server)?).await?;
            println!("{}", node.address());
            node.until_shutdown().await;
            return Ok(());
        }
        for turn in 0.. {
            let found = node.find(&SERVICE).await;
            let servers = found.services();
            if let Some(server) = servers.get(turn % servers.len().max(1))
                && let Ok(me) = server.ask(Who).timeout(Duration::from_millis(200)).await
            {
                println!("{}", me.0);
            }
            node.sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    })?
}
