use proptest::prelude::*;

use super::*;
use crate::fuzz_tests::holds;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn context(traceparent: &str) -> TraceContext {
    let value = HeaderValue::from_str(traceparent).unwrap();
    TraceContext::below(Some(&value))
}

#[test]
fn a_traceparent_gives_its_trace_and_parent() {
    for text in [PARENT.to_owned(), format!("01{}-future", &PARENT[2..])] {
        let context = context(&text);
        assert_eq!(context.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((context.parent_id, context.flags), (0x00f0_67aa_0ba9_02b7, 1));
    }
}

#[test]
fn a_bad_traceparent_gives_a_new_trace() {
    for bad in [
        "",
        "00",
        &PARENT[..54],
        &format!("{PARENT}-more"),
        &format!("ff{}", &PARENT[2..]),
        &PARENT.to_uppercase(),
        &PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
        &PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
        &PARENT.replace('-', "_"),
    ] {
        let context = context(bad);
        assert_ne!(context.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736", "{bad}");
        assert_eq!(context.parent_id, 0, "{bad}");
    }
}

#[test]
fn an_outgoing_call_is_of_the_same_trace_with_this_span_as_its_parent() {
    let here = context(PARENT);
    let there = context(here.traceparent().to_str().unwrap());
    assert_eq!((there.trace_id, there.flags), (here.trace_id, here.flags));
    assert_eq!(there.parent_id, here.span_id);
    assert_ne!(there.span_id, here.span_id);
}

#[test]
fn an_id_that_is_too_long_or_not_visible_is_replaced() {
    let header = |id: &str| HeaderValue::from_str(id).unwrap();
    assert_eq!(RequestId::of(Some(&header("abc-123"))).header(), "abc-123");
    for bad in ["", "with space", &"x".repeat(129)] {
        let made = RequestId::of(Some(&header(bad))).header();
        assert!(made != bad && made.len() == 32, "{bad}: {made:?}");
    }
}

/// What <https://www.w3.org/TR/trace-context/> says, field by field.
fn by_fields(text: &str) -> Option<(u128, u64, u8)> {
    let fields: Vec<&str> = text.split('-').collect();
    let [version, id, parent, flags, future @ ..] = fields.as_slice() else { return None };
    let is_hex = |field: &str, length| {
        field.len() == length && field.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    };
    let well_formed =
        is_hex(version, 2) && is_hex(id, 32) && is_hex(parent, 16) && is_hex(flags, 2) && *version != "ff";
    if !well_formed || (*version == "00" && !future.is_empty()) {
        return None;
    }
    let id = u128::from_str_radix(id, 16).ok().filter(|id| *id != 0)?;
    let parent = u64::from_str_radix(parent, 16).ok().filter(|parent| *parent != 0)?;
    Some((id, parent, u8::from_str_radix(flags, 16).ok()?))
}

#[test]
fn any_traceparent_is_read_as_the_standard_says() {
    holds("traceparent", |input| {
        let Ok(header) = HeaderValue::from_bytes(&input.bytes) else { return Ok(()) };
        prop_assert_eq!(parse(&header), header.to_str().ok().and_then(by_fields));
        let here = TraceContext::below(Some(&header));
        prop_assert_eq!(parse(&here.traceparent()), Some((here.trace_id, here.span_id, here.flags)));
        // Any other text may come as a request id, and goes into a header.
        let id = RequestId::of(Some(&header)).header();
        let is_fine = (1..=128).contains(&header.len())
            && header.as_bytes().iter().all(|byte| *byte > 32 && *byte < 127);
        prop_assert_eq!(id == header, is_fine);
        prop_assert!((1..=128).contains(&id.to_str().unwrap().len()));
        Ok(())
    });
}
