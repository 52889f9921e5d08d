//! Two nodes: one greets whoever asks, the other asks.
//!
//! ```sh
//! cargo run --example hello                                     # prints the greeter's path
//! cargo run --example hello -- ringmesh://demo@.../user/greeter # asks it, from another terminal
//! ```

use ringmesh::prelude::*;

#[message(id = "demo.Hello", v = 1, reply = Greeting)]
struct Hello {
    name: String,
}

#[message(id = "demo.Greeting", v = 1)]
struct Greeting {
    text: String,
}

protocol! { GreeterApi = "demo.greeter" { Hello } }

#[derive(Default)]
struct Greeter {
    greeted: u64,
}

impl Actor for Greeter {
    type Api = GreeterApi;
}

impl Handler<Hello> for Greeter {
    fn handle(&mut self, hello: Msg<Hello>, _: &mut Cx<'_, Self>) -> Greeting {
        self.greeted += 1;
        // The name is read where it arrived, in the receive buffer.
        let text = format!("hello, {} (number {})", hello.name, self.greeted);
        Greeting { text }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Engine::node("demo").run(|node| async move {
        let Some(path) = std::env::args().nth(1) else {
            node.spawn_named("greeter", Greeter::default())?;
            println!("{}/user/greeter", node.address());
            node.until_shutdown().await;
            return Ok(());
        };
        let greeter: Ref<GreeterApi> = node.resolve(&path).await?;
        let name = "world".to_owned();
        println!("{}", greeter.ask(Hello { name }).await?.text);
        Ok(())
    })?
}
