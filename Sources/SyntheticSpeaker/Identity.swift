package import Basics

/// Who is drawn: every trait of a person, and nothing that changes in a clip.
package struct Identity: Codable, Sendable, Equatable {
  package enum Gender: String, Codable, Sendable, CaseIterable { case woman, man }
  package enum Age: String, Codable, Sendable, CaseIterable { case young, adult, old }
  package enum HairStyle: String, Codable, Sendable, CaseIterable {
    case bald, buzzed, short, sidePart, fringe, bob, long, wavy, bun, ponytail, curly
  }
  package enum Glasses: String, Codable, Sendable, CaseIterable { case none, round, square, wide }
  package enum Beard: String, Codable, Sendable, CaseIterable { case none, stubble, moustache, goatee, full }
  package enum Clothes: String, Codable, Sendable, CaseIterable { case tshirt, shirt, hoodie, turtleneck, blazer }
  package enum Backdrop: String, Codable, Sendable, CaseIterable { case plain, gradient, circle, stripes, wall, bokeh }

  package var gender: Gender
  package var age: Age
  package var skin: Paint
  /// Half the width of the face and the height of the chin below the centre of the head, in head units (see `Head`).
  package var faceWidth: Double
  package var chin: Double
  /// Widths of jaw and chin as shares of the face's.
  package var jawWidth: Double
  package var chinWidth: Double
  package var hairStyle: HairStyle
  package var hairName: String
  package var hair: Paint
  package var hairVolume: Double
  package var eyeName: String
  package var eyes: Paint
  package var eyeSize: Double
  /// Distance between the eyes' centres, halved.
  package var eyeSpacing: Double
  package var browThickness: Double
  package var browArch: Double
  package var noseWidth: Double
  package var noseLength: Double
  package var lips: Paint
  package var lipThickness: Double
  /// Half the width of the closed mouth at rest.
  package var mouthHalfWidth: Double
  package var glasses: Glasses
  package var glassesPaint: Paint
  package var beard: Beard
  package var earrings: Bool
  package var freckles: Bool
  package var clothes: Clothes
  package var clothesName: String
  package var clothesPaint: Paint
  package var accent: Paint
  package var shoulders: Double
  package var backdrop: Backdrop
  package var backdropPaint: Paint
  package var backdropAccent: Paint
  /// Size of the head in the picture and where its centre lies, in half heights of the picture.
  package var scale: Double
  package var offsetX: Double
  package var offsetY: Double
}

extension Identity {
  /// A person at random; the same generator state gives the same one.
  package init(using random: inout SeededRandom) {
    gender = random.pick(Gender.allCases)
    age = random.pick([.young, .young, .adult, .adult, .old])
    let isWoman = gender == .woman
    skin = random.pick(Self.skins).mixed(random.pick(Self.skins), random.number(0...0.25)).rounded
    faceWidth = random.number(isWoman ? 0.315...0.35 : 0.33...0.37).rounded(4)
    chin = random.number(isWoman ? 0.41...0.45 : 0.43...0.48).rounded(4)
    jawWidth = random.number(isWoman ? 0.72...0.82 : 0.78...0.92).rounded(4)
    chinWidth = random.number(isWoman ? 0.32...0.42 : 0.38...0.54).rounded(4)
    hairStyle = random.pick(
      isWoman
        ? [.short, .fringe, .bob, .bob, .long, .long, .wavy, .wavy, .bun, .ponytail, .curly]
        : [.bald, .buzzed, .short, .short, .sidePart, .sidePart, .fringe, .curly, .long])
    // Dark skin goes with dark hair more often than not.
    let colours = age == .old ? Self.oldHair : skin.lightness < 0.5 ? Array(Self.hairs.prefix(3)) : Self.hairs
    (hairName, hair) = random.pick(colours)
    hairVolume = random.number(0.7...1.3).rounded(4)
    (eyeName, eyes) = random.pick(skin.lightness < 0.5 ? Array(Self.irises.prefix(2)) : Self.irises)
    eyeSize = random.number(0.9...1.15).rounded(4)
    eyeSpacing = random.number(0.138...0.158).rounded(4)
    browThickness = random.number(isWoman ? 0.014...0.022 : 0.022...0.034).rounded(4)
    browArch = random.number(0.01...0.045).rounded(4)
    noseWidth = random.number(0.045...0.07).rounded(4)
    noseLength = random.number(0.9...1.12).rounded(4)
    let natural = skin.mixed(Paint(0xA8404A), random.number(0.58...0.74))
    lips =
      (isWoman && random.chance(0.55)
      ? random.pick([0xC2304A, 0xB0304F, 0xD0505A, 0x98294A].map { Paint($0) }) : natural)
      .rounded
    lipThickness = random.number(isWoman ? 0.98...1.3 : 0.85...1.1).rounded(4)
    mouthHalfWidth = random.number(0.112...0.132).rounded(4)
    glasses = random.chance(0.35) ? random.pick([.round, .square, .wide]) : .none
    glassesPaint = random.pick([0x22222A, 0x5A3420, 0x8A1F2B, 0x2A3F6A, 0xA8843C].map { Paint($0) })
    beard = isWoman || random.chance(0.5) ? .none : random.pick([.stubble, .moustache, .goatee, .full])
    earrings = isWoman && random.chance(0.4)
    freckles = skin.lightness > 0.6 && random.chance(0.2)
    clothes = random.pick(Clothes.allCases)
    (clothesName, clothesPaint) = random.pick(Self.cloths)
    accent = random.pick(Self.cloths).1
    shoulders = random.number(isWoman ? 0.86...0.98 : 0.98...1.14).rounded(4)
    backdrop = random.pick(Backdrop.allCases)
    backdropPaint = random.pick(Self.backdrops)
    backdropAccent = backdropPaint.mixed(random.pick(Self.backdrops), 0.5).lighter(0.15).rounded
    scale = random.number(1.28...1.42).rounded(4)
    offsetX = random.number(-0.04...0.04).rounded(4)
    offsetY = random.number(-0.15...(-0.09)).rounded(4)
  }

  /// The person in words: "A young woman with long black hair and glasses".
  package var phrase: String {
    let noun = gender == .woman ? "woman" : "man"
    let person = age == .adult ? "A \(noun)" : age == .old ? "An old \(noun)" : "A young \(noun)"
    var traits: [String] = []
    switch hairStyle {
    case .bald: traits.append("a bald head")
    case .buzzed: traits.append("very short \(hairName) hair")
    case .short: traits.append("short \(hairName) hair")
    case .sidePart: traits.append("side-parted \(hairName) hair")
    case .fringe: traits.append("\(hairName) hair with a fringe")
    case .bob: traits.append("a \(hairName) bob")
    case .long: traits.append("long \(hairName) hair")
    case .wavy: traits.append("long wavy \(hairName) hair")
    case .bun: traits.append("\(hairName) hair in a bun")
    case .ponytail: traits.append("a \(hairName) ponytail")
    case .curly: traits.append("curly \(hairName) hair")
    }
    switch beard {
    case .none: break
    case .stubble: traits.append("stubble")
    case .moustache: traits.append("a moustache")
    case .goatee: traits.append("a goatee")
    case .full: traits.append("a full beard")
    }
    if glasses != .none { traits.append("glasses") }
    let garment =
      switch clothes {
      case .tshirt: "T-shirt"
      case .shirt: "shirt"
      case .hoodie: "hoodie"
      case .turtleneck: "turtleneck"
      case .blazer: "blazer"
      }
    traits.append("\(clothesName == "orange" ? "an" : "a") \(clothesName) \(garment)")
    return "\(person) with \(listed(traits))"
  }

  private static let skins = [0xFBE0CF, 0xF4CDB0, 0xE8B48E, 0xD69B6E, 0xB87A4E, 0x8F5A38, 0x6B4128].map { Paint($0) }
  private static let hairs: [(String, Paint)] = [
    ("black", Paint(0x1E1A1E)), ("dark brown", Paint(0x3A241C)), ("brown", Paint(0x5C3A26)),
    ("auburn", Paint(0x7A3420)), ("red", Paint(0xB2512A)), ("blond", Paint(0xD9AE62)),
    ("light blond", Paint(0xEBD296)),
  ]
  private static let oldHair: [(String, Paint)] = [
    ("grey", Paint(0x8A8A90)), ("silver", Paint(0xB8B9C0)), ("white", Paint(0xE4E4E8)), ("dark grey", Paint(0x55555C)),
  ]
  private static let irises: [(String, Paint)] = [
    ("dark brown", Paint(0x3B2314)), ("brown", Paint(0x6A4020)), ("hazel", Paint(0x86703A)), ("green", Paint(0x4C7A4A)),
    ("blue", Paint(0x3F78B0)), ("grey", Paint(0x6C7C88)),
  ]
  private static let cloths: [(String, Paint)] = [
    ("white", Paint(0xF0EEE8)), ("black", Paint(0x2A2A30)), ("navy", Paint(0x28395E)), ("red", Paint(0xB8343A)),
    ("green", Paint(0x3E7A56)), ("yellow", Paint(0xE0B440)), ("purple", Paint(0x6A4A88)), ("grey", Paint(0x85888F)),
    ("orange", Paint(0xDA7A34)), ("teal", Paint(0x2F8088)), ("pink", Paint(0xD88AA4)),
  ]
  private static let backdrops = [
    0xBFD8E6, 0xE8DCC8, 0xC9DDC4, 0xE6C8C8, 0xD2CBE4, 0x9FB6C6, 0x6F8A9C, 0x4C5C72, 0xE9E4DC, 0xF0CFA8, 0x7FA08E,
    0x3C4656,
  ].map { Paint($0) }
}
