use std::fmt::Debug;

use bytes::Bytes;

use super::*;

/// Encodes at an odd address, reads in place and copies out again; returns the archive's length.
fn round_trip<T: Archivable + PartialEq + Debug>(value: &T) -> usize {
    let needed = measure(value).expect("measurable");
    let mut buffer = vec![0xA5; needed + 2];
    let odd = 1 + (buffer.as_ptr() as usize & 1);
    let written = encode(value, &mut buffer[odd..odd + needed]).expect("exactly enough room");
    assert_eq!(written, needed);
    let bytes = &buffer[odd..odd + needed];
    assert!(bytes.as_ptr() as usize % 2 == 1 || needed == 0);
    let archived = access::<T>(bytes).expect("valid");
    assert_eq!(&deserialize::<T>(archived), value);
    assert_eq!(explain::<T>(bytes), None);
    needed
}

fn encoded<T: Archivable>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; measure(value).expect("measurable")];
    encode(value, &mut bytes).expect("measured");
    bytes
}

#[test]
fn numbers_round_trip() {
    assert_eq!(round_trip(&u8::MAX), 1);
    assert_eq!(round_trip(&0x0102_u16), 2);
    assert_eq!(round_trip(&u32::MAX), 4);
    assert_eq!(round_trip(&u64::MAX), 8);
    assert_eq!(round_trip(&u128::MAX), 16);
    assert_eq!(round_trip(&i8::MIN), 1);
    assert_eq!(round_trip(&i16::MIN), 2);
    assert_eq!(round_trip(&i32::MIN), 4);
    assert_eq!(round_trip(&i64::MIN), 8);
    assert_eq!(round_trip(&i128::MIN), 16);
    assert_eq!(round_trip(&1.5_f32), 4);
    assert_eq!(round_trip(&-0.1_f64), 8);
    assert_eq!(round_trip(&true), 1);
    assert_eq!(round_trip(&'ß'), 4);
    assert_eq!(round_trip(&()), 0);
}

#[test]
fn containers_round_trip() {
    assert_eq!(round_trip(&[1_u16, 2, 3]), 6);
    assert_eq!(round_trip(&(1_u8, 2_u64, 'x')), 13);
    assert_eq!(round_trip(&String::from("eight by")), 8);
    assert_eq!(round_trip(&String::from("more than eight bytes")), 8 + 21);
    assert_eq!(round_trip(&Box::<str>::from("text")), 8 + 4);
    assert_eq!(round_trip(&Box::<[u32]>::from([7, 8])), 8 + 8);
    assert_eq!(round_trip(&vec![0x1234_5678_u32; 5]), 8 + 20);
    assert_eq!(round_trip(&Vec::<u64>::new()), 8);
    assert_eq!(round_trip(&Some(9_u64)), 9);
    assert_eq!(round_trip(&None::<u64>), 9);
    assert_eq!(round_trip(&Bytes::from_static(b"bytes")), 8 + 5);
    assert_eq!(
        round_trip(&[String::from("nine byte"), String::new()]),
        9 + 16
    );
    let nested = vec![vec![String::from("a string out of line")], Vec::new()];
    assert_eq!(round_trip(&nested), 20 + 8 + 2 * 8 + 8);
    round_trip(&vec![(
        Some(String::from("an optional string")),
        [None, Some(1.5_f32)],
        'q',
    )]);
    round_trip(&(
        1_u8, 2_u8, 3_u8, 4_u8, 5_u8, 6_u8, 7_u8, 8_u8, 9_u8, 10_u8, 11_u8, 12_u8,
    ));
}

#[test]
fn the_bytes_are_little_endian_and_the_root_is_last() {
    assert_eq!(
        encoded(&(0x0102_u16, -2_i32)),
        [0x02, 0x01, 0xFE, 0xFF, 0xFF, 0xFF]
    );
    // Elements, then the pointer back to them, then their number.
    assert_eq!(
        encoded(&vec![0x0A0B_u16]),
        [0x0B, 0x0A, 0xFE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0]
    );
    assert_eq!(encoded(&None::<u32>), [0, 0, 0, 0, 0]);
}

#[test]
fn one_byte_too_few_says_how_many_it_takes() {
    let flat = [1_u64; 8];
    let deep = vec![
        String::from("a string out of line"),
        String::from("and another of them"),
    ];
    let mut buffer = [0_u8; 256];
    let needed = measure(&flat).expect("measurable");
    for short in [0, 1, needed - 1] {
        assert_eq!(
            encode(&flat, &mut buffer[..short]),
            Err(EncodeError::NoRoom { needed })
        );
    }
    let needed = measure(&deep).expect("measurable");
    for short in [0, 1, 20, needed - 9, needed - 1] {
        assert_eq!(
            encode(&deep, &mut buffer[..short]),
            Err(EncodeError::NoRoom { needed })
        );
    }
    assert_eq!(encode(&deep, &mut buffer[..needed]), Ok(needed));
    assert_eq!(encode(&deep, &mut buffer), Ok(needed));
}

#[test]
fn vectors_beyond_the_stack_scratch_are_encoded_too() {
    // Four bytes of scratch each: the first still fits the stack, the others do not.
    for count in [512, 513, 20_000, 600_000] {
        let strings: Vec<String> = (0..count).map(|index| format!("string {index}")).collect();
        round_trip(&strings);
    }
    // Two vectors under way at once.
    round_trip(&vec![vec![String::from("x"); 400]; 400]);
}

#[test]
fn an_archive_past_the_longest_is_refused_before_it_is_stored() {
    // One page of zeros, never written: the writer only counts them.
    let page = Bytes::from(vec![0; 1 << 20]);
    let longest = ARCHIVE_BYTES_MAX >> 20;
    let fits = vec![page.clone(); longest];
    assert_eq!(measure(&fits), Ok((longest << 20) + 8 * longest + 8));
    let one_over = vec![page; longest + 1];
    assert_eq!(measure(&one_over), Err(EncodeError::Failed));
}

#[test]
fn a_flat_archive_has_exactly_its_length() {
    let bytes = [0_u8; 9];
    assert!(access::<u64>(&bytes[..8]).is_ok());
    for length in [0, 7, 9] {
        let error = AccessError::Length {
            bytes: length,
            root: 8,
        };
        assert_eq!(access::<u64>(&bytes[..length]), Err(error));
        assert_eq!(explain::<u64>(&bytes[..length]), Some(error.to_string()));
    }
    // A deep one has at least its root.
    let error = AccessError::Length { bytes: 7, root: 8 };
    assert_eq!(access::<String>(&bytes[..7]), Err(error));
}

#[test]
fn values_without_meaning_are_refused() {
    assert_eq!(access::<bool>(&[2]), Err(AccessError::Invalid));
    assert_eq!(
        access::<char>(&0xD800_u32.to_le_bytes()),
        Err(AccessError::Invalid)
    );
    assert_eq!(access::<Option<u8>>(&[2, 0]), Err(AccessError::Invalid));
    let mut text = encoded(&String::from("some text out of line"));
    text[3] = 0xFF;
    assert_eq!(access::<String>(&text), Err(AccessError::Invalid));
    assert_eq!(
        access::<String>(b"\xC3\x28\xFF\xFF\xFF\xFF\xFF\xFF"),
        Err(AccessError::Invalid)
    );
    let why = explain::<String>(&text).expect("invalid");
    assert!(why.contains("UTF-8"), "{why}");
}

#[test]
fn pointers_and_lengths_stay_within_the_archive() {
    let good = encoded(&vec![1_u8, 2, 3]);
    assert_eq!(good[3..], [0xFD, 0xFF, 0xFF, 0xFF, 3, 0, 0, 0]);
    let with = |pointer: i32, length: u32| {
        let mut bytes = good.clone();
        bytes[3..7].copy_from_slice(&pointer.to_le_bytes());
        bytes[7..].copy_from_slice(&length.to_le_bytes());
        bytes
    };
    assert!(access::<Vec<u8>>(&with(-3, 3)).is_ok());
    assert!(access::<Vec<u8>>(&with(-2, 2)).is_ok());
    assert!(access::<Vec<u8>>(&with(0, 0)).is_ok());
    let outside = [
        (-4, 3),        // starts before the archive
        (-4, 0),        // the same, of no length
        (-3, 4),        // reaches into the root
        (-2, 3),        // the same
        (0, 1),         // the root itself
        (1, 0),         // within the root
        (8, 1),         // behind the archive
        (i32::MIN, 1),  // far before
        (i32::MAX, 1),  // far behind
        (-3, u32::MAX), // a length that wraps nowhere
        (-3, 1 << 31),  // the same with one bit
        (i32::MIN, u32::MAX),
    ];
    for (pointer, length) in outside {
        let bytes = with(pointer, length);
        assert_eq!(
            access::<Vec<u8>>(&bytes),
            Err(AccessError::Invalid),
            "pointer {pointer}, length {length}"
        );
    }
}

#[test]
fn two_parts_cannot_claim_the_same_bytes() {
    let mut bytes = encoded(&(vec![1_u64], vec![2_u64]));
    assert!(access::<(Vec<u64>, Vec<u64>)>(&bytes).is_ok());
    // The second vector points at the elements of the first.
    bytes[24..28].copy_from_slice(&(-24_i32).to_le_bytes());
    assert_eq!(
        access::<(Vec<u64>, Vec<u64>)>(&bytes),
        Err(AccessError::Invalid)
    );
}

#[test]
fn the_deepest_type_is_valid() {
    type Four<T> = Vec<Vec<Vec<Vec<T>>>>;
    type Deepest = Four<Four<Four<Four<Four<Four<Four<Vec<Vec<Vec<u8>>>>>>>>>>;
    const { assert!(Deepest::DEPTH == DEPTH_MAX - 1) };
    let mut bytes = vec![7];
    // By hand, as no plain value is worth writing down: each level is one vector of one element.
    bytes.extend(encoded(&vec![7_u8]).split_off(1));
    for _ in 1..Deepest::DEPTH {
        bytes.extend((-8_i32).to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
    }
    assert!(access::<Deepest>(&bytes).is_ok());
    assert_eq!(
        encoded(&deserialize::<Deepest>(access::<Deepest>(&bytes).unwrap())),
        bytes
    );
}
