use super::*;

#[test]
fn what_is_flat_and_what_is_pod() {
    const { assert!(<(u8, [f64; 4], ())>::FLAT && <(u8, [f64; 4], ())>::POD) };
    const { assert!(<Option<u32>>::FLAT && !<Option<u32>>::POD) };
    const { assert!(<(bool, char)>::FLAT && !<(bool, u8)>::POD && !<(u8, char)>::POD) };
    const { assert!(!String::FLAT && !<Vec<u8>>::FLAT && !<Box<str>>::FLAT && !Bytes::FLAT) };
    const { assert!(!<Option<String>>::FLAT && !<[Vec<u8>; 2]>::POD) };
}

#[test]
fn depth_counts_the_levels_out_of_line() {
    assert_eq!(<[u8; 4]>::DEPTH, 0);
    assert_eq!(<Option<Box<str>>>::DEPTH, 1);
    assert_eq!(<Vec<(String, u8)>>::DEPTH, 2);
    assert_eq!(<(u8, Box<[Vec<String>]>)>::DEPTH, 3);
}

#[test]
fn no_two_layouts_share_a_fingerprint() {
    let fingerprints = [
        u8::FINGERPRINT,
        i8::FINGERPRINT,
        bool::FINGERPRINT,
        u32::FINGERPRINT,
        f32::FINGERPRINT,
        char::FINGERPRINT,
        <()>::FINGERPRINT,
        String::FINGERPRINT,
        <Box<str>>::FINGERPRINT,
        <Vec<u8>>::FINGERPRINT,
        <Vec<i8>>::FINGERPRINT,
        <Box<[u8]>>::FINGERPRINT,
        <Vec<Vec<u8>>>::FINGERPRINT,
        <Option<u8>>::FINGERPRINT,
        <Option<Option<u8>>>::FINGERPRINT,
        <[u8; 1]>::FINGERPRINT,
        <[u8; 2]>::FINGERPRINT,
        <[[u8; 2]; 1]>::FINGERPRINT,
        <[[u8; 1]; 2]>::FINGERPRINT,
        <(u8,)>::FINGERPRINT,
        <(u8, i8)>::FINGERPRINT,
        <(i8, u8)>::FINGERPRINT,
        <((u8, i8),)>::FINGERPRINT,
    ];
    for (index, one) in fingerprints.iter().enumerate() {
        for (offset, other) in fingerprints[..index].iter().enumerate() {
            assert_ne!(one, other, "types {offset} and {index}");
        }
    }
    // The one exception is the promise that either may become the other.
    assert_eq!(Bytes::FINGERPRINT, <Vec<u8>>::FINGERPRINT);
}

/// Peers of different releases compare these: a change here is a change of the wire format.
#[test]
fn golden_fingerprints() {
    assert_eq!(
        crate::fingerprint::FORMAT_FINGERPRINT,
        0x482f_3da1_bc26_90c4
    );
    assert_eq!(
        <(u64, Vec<Option<String>>, [f32; 3])>::FINGERPRINT,
        0xa098_7dbb_6a15_87d2
    );
    assert_eq!(MessageId::of("demo.Hello").as_u64(), 0xe965_e8b4_9ebb_0c50);
}

#[test]
fn a_unit_reply_is_nothing_to_send() {
    struct Nobody;

    impl ReplySink for Nobody {
        type Output = ();

        fn send<M: Message>(self, _: &M) {
            panic!("a unit was sent");
        }
    }

    assert_eq!(<() as Reply>::MESSAGE_TYPE, None);
    assert_eq!(().send_to(Nobody), None);
}
