//! Prints the OpenAPI document: the same as `kith openapi`, without a built
//! web app.

fn main() {
    print!("{}", kith_web::openapi());
}
