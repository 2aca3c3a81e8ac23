package pins

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// lookalikes maps characters to the ASCII ones that they are mistaken for, as the skeletons of Unicode TS #39 do. It was
// written by hand from what fonts show: Cyrillic, Greek, Armenian, Cherokee and Lisu letters, small capitals and IPA, a few
// digits, dashes, slashes and dots. Fullwidth, mathematical and other compatibility forms are no rows: NFKC undoes them.
// It is not the whole table of TS #39: characters of other scripts, and pairs without an ASCII one, are not found.
var lookalikes = expand([][2]string{
	{"a", "аɑα⍺"}, {"A", "АΑᎪᗅꓮ"}, {"b", "ЬƄᏏ"}, {"B", "ВΒᏴᗷꓐ"}, {"c", "сϲᴄⲥ"}, {"C", "СϹᏟⲤꓚ"}, {"d", "ԁᏧꓒɗ"}, {"D", "Ꭰᗞꓓᗪ"},
	{"e", "еҽ℮є"}, {"E", "ЕΕᎬⴹꓰ"}, {"f", "քẝꞙ"}, {"F", "Ϝꓝᖴ"}, {"g", "ɡցƍ"}, {"G", "ԌᏀᏳꓖ"}, {"h", "һհᏂ"}, {"H", "НΗᎻⲎꓧ"},
	{"i", "іıɩιɪᎥӏ"}, {"I", "ІΙӀⅠꓲƖⲒ"}, {"j", "јϳ"}, {"J", "ЈͿᎫꓙ"}, {"k", "кκĸᴋ"}, {"K", "КΚᏦⲔꓗ"}, {"l", "ǀ∣ǁ"}, {"L", "Ꮮᒪꓡ"},
	{"m", "ᴍм"}, {"M", "МΜϺᎷᗰⲘꓟ"}, {"n", "ոռηпп"}, {"N", "ΝⲚꓠ"}, {"o", "оοσօᴏ૦౦೦०০൦๐໐ס〇"}, {"O", "ОΟՕ߀Ⲟꓳϴⵔ"},
	{"p", "рρ"}, {"P", "РΡᏢᑭⲢꓑ"}, {"q", "ԛգզ"}, {"Q", "Ԛⵕ"}, {"r", "гᴦⲅ"}, {"R", "ᎡᏒƦᖇꓣ"}, {"s", "ѕƽꜱ"}, {"S", "ЅՏᏕᏚꓢ"},
	{"t", "τтᴛ"}, {"T", "ТΤᎢⲦꓔ"}, {"u", "υսʋᴜ"}, {"U", "Սᑌꓴ∪"}, {"v", "νѵᴠ"}, {"V", "ѴᏙᐯꓦ∨"}, {"w", "ԝѡաɯᴡ"}, {"W", "ԜᎳᏔꓪ"},
	{"x", "хχ×ⅹᕁ"}, {"X", "ХΧⲬꓫ╳"}, {"y", "уγүყʏɣ"}, {"Y", "УΥҮᎩᎽⲨꓬ"}, {"z", "ᴢ"}, {"Z", "ΖᏃꓜ"},
	{"2", "Ƨꙅ"}, {"3", "ЗзƷȜӠ"}, {"4", "Ꮞ"}, {"5", "Ƽ"}, {"6", "бᏮ"}, {"8", "Ȣ৪"}, {"9", "৭"}, {"ss", "ß"},
	{"-", "‐‑‒–—−⁃˗"}, {"_", "ˍߺ"}, {".", "․٠۰܁"}, {"/", "⁄∕╱⟋"}, {":", "׃։∶꞉"},
})

func expand(rows [][2]string) map[rune]string {
	table := make(map[rune]string)
	for _, row := range rows {
		for _, r := range row[1] {
			table[r] = row[0]
		}
	}
	return table
}

// keys are forms of a name. Two names of which one form is the same are mistaken for each other.
type keys struct {
	folded   string // without case, width and what is hidden
	skeleton string // and with ASCII for what looks like it
	strokes  string // and with I, l, 1 and | the same, and O and 0
}

// formsOf returns the keys of a name.
func formsOf(name string) keys {
	name = strings.TrimFunc(strip(name), unicode.IsSpace)
	if !plain(name) {
		name = norm.NFKC.String(name)
	}
	var k keys
	k.folded = fold(name)
	ascii := name
	if !plain(name) {
		var b strings.Builder
		for _, r := range norm.NFD.String(name) {
			if to, ok := lookalikes[r]; ok {
				b.WriteString(to)
			} else {
				b.WriteRune(r)
			}
		}
		ascii = b.String()
	}
	k.skeleton = joined(fold(ascii))
	k.strokes = joined(fold(strokes.Replace(ascii)))
	return k
}

// strokes writes what consists of one stroke, or of a ring, in one way.
var strokes = strings.NewReplacer("I", "l", "1", "l", "|", "l", "0", "O")

// joined writes m as the two letters that it looks like.
func joined(folded string) string { return strings.ReplaceAll(folded, "m", "rn") }

// fold undoes case. ToLower alone leaves what has one capital form with another letter, such as ſ with s.
func fold(text string) string {
	return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, text)
}

// strip takes out what is hidden, and joiners and selectors where they are allowed too.
func strip(text string) string {
	if plain(text) {
		return text
	}
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unseen...) && !unicode.In(r, seen...) || r == 0x2800 {
			return -1
		}
		return r
	}, text)
}

// alike says how two different names are mistaken for each other, or returns "".
func alike(a, b keys) string {
	switch {
	case a.folded == b.folded:
		return "case, width or hidden characters"
	case a.skeleton == b.skeleton, a.strokes == b.strokes:
		return "characters that look alike"
	}
	return ""
}
