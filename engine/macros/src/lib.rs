//! The macros of Ringmesh: [`macro@message`], [`macro@wire`], [`protocol!`],
//! [`macro@async_handler`] and [`macro@later_handler`].
//!
//! They write what a person would write by hand and nothing clever: derives of the archiver, the
//! consts that describe a layout, and a `match` over the messages of a protocol. Users reach them
//! through the facade, and the code they write names only the facade, so that a crate with messages
//! depends on Ringmesh alone and may forbid unsafe code.
#![forbid(unsafe_code)]

mod expand;
mod handler;
mod parse;
mod protocol;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct or an enum a message.
///
/// ```ignore
/// #[message(id = "demo.Hello", v = 1, reply = Greeting)]
/// pub struct Hello {
///     pub name: String,
/// }
/// ```
///
/// | argument | meaning |
/// |---|---|
/// | `id = "..."` | the name on the wire; never changes, wherever the type moves |
/// | `v = N` | the version, from 1; count it up when the layout changes |
/// | `reply = T` | what its handler returns; `()`, for nothing, when left out |
/// | `upgrades(T, ..)` | older versions that become this one where they are read; see `Upgrade` |
/// | `pod` | a promise, checked here: plain numbers only, so that validating is a length check |
/// | `crate = path` | where the facade is, when it is not `::ringmesh` |
///
/// `#[message(local)]` makes any `'static` type a local message, which moves by value and stays on
/// its node: see `LocalMessage`. What follows is of the others.
///
/// Every field is wire-safe: a fixed-width number, `bool`, `char`, `()`, an array, a tuple,
/// `String`, `Vec`, `Option`, `Box<[T]>`, `Box<str>`, `bytes::Bytes`, or a type with
/// [`macro@wire`]. A message has no generic parameters and does not contain itself.
///
/// The macro adds the archived form, `ArchivedHello` here, with the same fields and the same
/// visibility. A handler reads it in place: `m.name` is a string slice in the receive buffer.
/// Numbers wider than a byte are kept in little-endian order and unaligned; they compare with and
/// print like the plain ones, and `m.count.to_native()` is the plain one. An archived `Option` has
/// `as_ref()`, an archived `Vec` is a slice.
///
/// Under `missing_docs`, a public enum whose variants have named fields needs an
/// `#[allow(missing_docs)]` on its module: the archiver's resolver, a type beside the archived form
/// that users never touch, repeats these fields without their docs.
#[proc_macro_attribute]
pub fn message(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as parse::AnyMessage);
    let item = parse_macro_input!(item as DeriveInput);
    expand::message(&arguments, &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a struct or an enum fit to be a part of messages, without an identity of its own.
///
/// ```ignore
/// #[wire]
/// pub struct Position {
///     pub x: f32,
///     pub y: f32,
/// }
/// ```
///
/// The rules are those of [`macro@message`]; the arguments are `pod` and `crate = path`.
#[proc_macro_attribute]
pub fn wire(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as parse::WireArguments);
    let item = parse_macro_input!(item as DeriveInput);
    expand::wire(&arguments, &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Says that an actor handles a message asynchronously. Stands on the `impl` of `AsyncHandler`.
///
/// ```ignore
/// #[async_handler]
/// impl AsyncHandler<Fetch> for Cache {
///     async fn handle(&mut self, fetch: Msg<Fetch>, cx: &mut Cx<'_, Self>) -> Fetched {
///         // ...
///     }
/// }
/// ```
///
/// `#[async_handler(crate = path)]` names the facade, when it is not `::ringmesh`.
#[proc_macro_attribute]
pub fn async_handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as syn::ItemImpl);
    handler::expand(handler::Kind::Async, arguments.into(), &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Says that an actor answers a message when it will. Stands on the `impl` of `LaterHandler`.
///
/// ```ignore
/// #[later_handler]
/// impl LaterHandler<Fetch> for Cache {
///     fn handle(&mut self, fetch: Msg<Fetch>, reply: ReplyTo<Fetch>, cx: &mut Cx<'_, Self>) {
///         self.waiting.push(reply);
///     }
/// }
/// ```
///
/// `#[later_handler(crate = path)]` names the facade, when it is not `::ringmesh`.
#[proc_macro_attribute]
pub fn later_handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as syn::ItemImpl);
    handler::expand(handler::Kind::Later, arguments.into(), &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Declares a protocol: the messages an actor accepts, as a type of its own.
///
/// ```ignore
/// protocol! {
///     /// Greets, until it is told to stop.
///     pub GreeterApi = "demo.greeter" { Hello, Stop }
/// }
/// ```
///
/// `local Job` in the list is a local message, which has a `LocalHandler`: nothing of it is on the
/// wire or in a `messages.lock`.
///
/// The order of the messages is not a part of the wire format. Two messages of one id do not
/// compile. `#[protocol(crate = path)]` in front names the facade, when it is not `::ringmesh`.
#[proc_macro]
pub fn protocol(input: TokenStream) -> TokenStream {
    let protocol = parse_macro_input!(input as protocol::Protocol);
    protocol.expand().into()
}
