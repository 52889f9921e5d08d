//! One node, several cores: an actor on each counts its share of the primes below a limit.
//! Run it with `cargo run --release --example cores -- 2000000`.

use ringmesh::prelude::*;

#[message(id = "demo.Count", v = 1, reply = Counted, pod)]
struct Count {
    first: u64,
    step: u64,
    below: u64,
}

#[message(id = "demo.Counted", v = 1, pod)]
struct Counted {
    primes: u64,
}

protocol! { CounterApi = "demo.counter" { Count } }

struct Counter;

impl Actor for Counter {
    type Api = CounterApi;
}

impl Handler<Count> for Counter {
    fn handle(&mut self, count: Msg<Count>, _: &mut Cx<'_, Self>) -> Counted {
        let range = count.first.to_native()..count.below.to_native();
        let share = range.step_by(count.step.to_native() as usize);
        let primes = share.filter(|&number| is_prime(number)).count() as u64;
        Counted { primes }
    }
}

fn is_prime(n: u64) -> bool {
    n > 1
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let below = std::env::args().nth(1);
    let below: u64 = below.map_or(Ok(100_000), |text| text.parse())?;
    let cores = std::thread::available_parallelism()?.get();
    Engine::node("demo")
        .cores(cores)
        .run(move |node| async move {
            let counters = node.spawn_each(|_core| Counter).await?;
            let step = counters.len() as u64;
            let questions = (0..step).map(|first| Count { first, step, below });
            let asked = counters.iter().zip(questions);
            let asked = asked.map(|(counter, question)| counter.ask(question));
            let mut primes = 0;
            for answer in futures_util::future::join_all(asked).await {
                primes += answer?.primes.to_native();
            }
            println!("{primes} primes below {below}, by {step} cores");
            Ok(())
        })?
}
