//! Symbol packages, and symbol files as debuggers ask for them.

use std::io::Read;

use super::{
    Desk, Pack,
    pack::{get, push},
};
use crate::{Server, on_backends};

const PUSH: &str = "/nuget/v2/symbolpackage/";

/// A portable symbol file with nothing but its id.
fn pdb(id: u8) -> Vec<u8> {
    let mut bytes = b"BSJB\x01\0\x01\0\0\0\0\0\x0c\0\0\0PDB v1.0\0\0\0\0\0\0\x01\0".to_vec();
    let offset = bytes.len() as u32 + 16;
    bytes.extend_from_slice(&offset.to_le_bytes());
    bytes.extend_from_slice(&20_u32.to_le_bytes());
    bytes.extend_from_slice(b"#Pdb\0\0\0\0");
    bytes.extend_from_slice(&[id; 20]);
    bytes
}

fn address(id: u8) -> String {
    format!("/symbols/Code.pdb/{}FFFFFFFF/code.pdb", format!("{id:02X}").repeat(16))
}

on_backends!(symbols_join_their_package_and_are_found_by_their_id, async |server: Server| {
    let user = server.new_user("ada").await;
    let stranger = server.new_user("mallory").await;
    let key = Some(user.token.as_str());
    let symbols = |id: u8| Pack::new("acme.lib", "1.0.0.0").symbols().file("lib/x/Code.pdb", pdb(id)).zip();
    push(&server, PUSH, key, &symbols(1)).await.is(404, "Push acme.lib 1.0.0 first");
    Pack::new("Acme.Lib", "1.0.0").live(&server, &user).await;
    push(&server, PUSH, Some(&stranger.token), &symbols(1)).await.is(403, "You may not publish acme.lib");
    push(&server, PUSH, None, &symbols(1)).await.is(401, "API key is missing");
    assert_eq!(push(&server, PUSH, key, &symbols(1)).await.status, 201);
    assert_eq!(push(&server, PUSH, key, &symbols(1)).await.status, 201, "the same again changes nothing");
    let said = get(&server, &address(1), None).await;
    assert_eq!((said.status, said.bytes), (200, pdb(1)));
    // Others for the same version; who still has the first asks by its id.
    assert_eq!(push(&server, PUSH, key, &symbols(2)).await.status, 201);
    for id in [1, 2] {
        assert_eq!(get(&server, &address(id), None).await.bytes, pdb(id));
    }
    assert_eq!(get(&server, &address(3), None).await.status, 404);
    for (zip, reason) in [
        (Pack::new("Acme.Lib", "1.0.0").zip(), "This is no symbol package"),
        (Pack::new("Acme.Lib", "1.0.0").symbols().file("lib/a.dll", "x").zip(), "symbols only, found: lib/a.dll"),
        (b"nonsense".to_vec(), "not a zip file"),
    ] {
        push(&server, PUSH, key, &zip).await.is(400, reason);
    }
    // They are no more to be seen than their package, and are none of its versions.
    let versions = get(&server, "/v3/flatcontainer/acme.lib/index.json", None).await.json();
    assert_eq!(versions["versions"], serde_json::json!(["1.0.0"]));
    server.set_visibility("nuget", "acme.lib", "private").await;
    assert_eq!(get(&server, &address(1), Some(&stranger.token)).await.status, 404);
    assert_eq!(get(&server, &format!("/~auth{}", address(1)), None).await.status, 401);
    assert_eq!(get(&server, &address(1), key).await.bytes, pdb(1));
});

#[tokio::test(flavor = "multi_thread")]
async fn symbols_of_the_sdk_are_found_by_the_id_inside_the_program() {
    let server = Server::start(crate::Backend::Embedded).await;
    let user = server.new_user("ada").await;
    let desk = Desk::new(&server, "author");
    let packed = desk.pack("Acme.Lib", "1.0.0").await;
    let push = ["nuget", "push", "Acme.Lib.1.0.0.nupkg", "-s", desk.source(), "-k", &user.token];
    desk.dotnet(&packed, &push).await.succeeds();
    let read = |file: &str, path: &str| {
        let mut zip = zip::ZipArchive::new(std::fs::File::open(packed.join(file)).unwrap()).unwrap();
        let mut bytes = Vec::new();
        zip.by_name(path).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let dll = read("Acme.Lib.1.0.0.nupkg", "lib/netstandard2.1/Acme.Lib.dll");
    let wanted = read("Acme.Lib.1.0.0.snupkg", "lib/netstandard2.1/Acme.Lib.pdb");
    // The CodeView record: `RSDS`, the GUID, an age, the path of the file.
    let at = dll.windows(4).position(|bytes| bytes == b"RSDS").expect("a debug directory") + 4;
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let guid: String = order.iter().map(|byte| format!("{:02x}", dll[at + byte])).collect();
    let said = get(&server, &format!("/symbols/Acme.Lib.pdb/{guid}ffffffff/Acme.Lib.pdb"), None).await;
    assert_eq!((said.status, said.bytes == wanted), (200, true));
}
