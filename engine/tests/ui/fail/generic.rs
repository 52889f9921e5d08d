use ringmesh::message;

#[message(id = "ui.Wrapped", v = 1)]
struct Wrapped<T> {
    value: T,
}

#[message(id = "ui.Borrowed", v = 1)]
struct Borrowed<'a> {
    value: &'a str,
}

fn main() {}
