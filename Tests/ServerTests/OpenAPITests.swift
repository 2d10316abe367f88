import Foundation
import HTTPTypes
import Testing

@testable import Server

@Suite(.serialized) struct OpenAPITests {
  @Test func documentHasEveryRouteAndNoOther() async throws {
    try await RunningServer.with { server in
      let document = try await server.send("GET", "/openapi.json").json()
      let paths = try #require(document["paths"] as? [String: [String: Any]])
      let methods: Set = ["get", "post", "put", "patch", "delete", "head", "options"]
      let documented = Set(
        paths.flatMap { path, item in item.keys.filter(methods.contains).map { "\($0.uppercased()) \(path)" } })
      let existing = Set(server.server.routes.map { "\($0.method.rawValue) \($0.path)" })
      #expect(documented == existing)
      #expect(!existing.isEmpty)
    }
  }

  @Test func documentHasEveryErrorCodeAndEveryReferenceLeadsSomewhere() throws {
    let text = String(decoding: WebPage.openAPI, as: UTF8.self)
    let document = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    let schemas = try #require((document["components"] as? [String: Any])?["schemas"] as? [String: [String: Any]])
    let error = (schemas["Error"]?["properties"] as? [String: [String: Any]])?["error"]
    let code = (error?["properties"] as? [String: [String: Any]])?["code"]
    #expect(Set(code?["enum"] as? [String] ?? []) == Set(APIError.Code.allCases.map(\.rawValue)))
    for reference in text.matches(of: /#\/components\/schemas\/(\w+)/) { #expect(schemas[String(reference.1)] != nil) }
  }

  @Test func statusesOfAnswersAreAmongThoseDocumented() async throws {
    try await RunningServer.with { server in
      let paths = try #require(
        try await server.send("GET", "/openapi.json").json()["paths"] as? [String: [String: Any]])
      for route in server.server.routes {
        let operation = paths[route.path]?[route.method.rawValue.lowercased()] as? [String: Any]
        let statuses = try #require((operation?["responses"] as? [String: Any])?.keys)
        let reply = try await server.send(
          route.method.rawValue, route.path.replacing(/\{\w+\}/, with: "nobody"), Array("{".utf8))
        #expect(statuses.contains("\(reply.status)"), "\(route.method) \(route.path) answers \(reply.status)")
      }
    }
  }
}
