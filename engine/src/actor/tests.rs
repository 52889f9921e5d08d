use ringmesh_proto::archive::{access, encode, measure};

use super::*;
use crate::{message, protocol};

#[message(id = "test.Add", v = 1, reply = Sum)]
struct Add {
    number: u64,
}

#[message(id = "test.Sum", v = 1)]
struct Sum {
    total: u64,
}

#[message(id = "test.Reset", v = 1)]
struct Reset;

protocol! { AdderApi = "test.adder" { Add, Reset } }

struct Adder(u64);

impl Actor for Adder {
    type Api = AdderApi;
}

impl Handler<Add> for Adder {
    fn handle(&mut self, message: Msg<Add>, _: &mut Cx<'_, Self>) -> Sum {
        self.0 += message.number.to_native();
        Sum { total: self.0 }
    }
}

impl Handler<Reset> for Adder {
    fn handle(&mut self, _: Msg<Reset>, _: &mut Cx<'_, Self>) {
        self.0 = 0;
    }
}

fn archived(message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![0; measure(message).expect("measurable")];
    encode(message, &mut bytes).expect("measured");
    bytes
}

#[test]
fn each_message_reaches_its_handler_and_its_reply_comes_back() {
    let (mut adder, mut cx, mut reply) = (Adder(1), Cx::new(), Vec::new());
    let mut dispatch = |index, payload: &[u8]| {
        let delivery = Delivery::new(payload, &mut reply);
        AdderApi::dispatch(&mut adder, index, delivery, &mut cx)
    };
    let add = archived(&Add { number: 5 });
    assert_eq!(
        dispatch(0, &add),
        Outcome::Handled(Some(<Sum as Message>::TYPE))
    );
    assert_eq!(dispatch(1, &archived(&Reset)), Outcome::Handled(None));
    let invalid = AccessError::Length { bytes: 7, root: 8 };
    assert_eq!(dispatch(0, &add[1..]), Outcome::Invalid(invalid));
    assert_eq!(dispatch(2, &add), Outcome::NoSuchMessage);
    assert_eq!(adder.0, 0);
    assert_eq!(access::<Sum>(&reply).expect("the reply to Add").total, 6);
}
