//! What does not compile, and how it is explained. What does compile, however strict its user is,
//! are the tests in `ui/pass`.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/fail/*.rs");
}
