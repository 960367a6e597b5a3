package argparse

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// wrap breaks text into lines of at most width characters as Python's textwrap does: at spaces and
// behind the hyphens of compound words, and a word that is too long wherever it must.
func wrap(text string, width int) []string {
	var lines []string
	rest := chunks(text)
	for len(rest) > 0 {
		var line []string
		used := 0
		if len(lines) > 0 && rest[0] == " " {
			rest = rest[1:]
		}
		for len(rest) > 0 && used+length(rest[0]) <= width {
			line, used, rest = append(line, rest[0]), used+length(rest[0]), rest[1:]
		}
		if len(rest) > 0 && length(rest[0]) > width {
			head, tail := breakLong(rest[0], width-used)
			line, rest[0] = append(line, head), tail
		}
		if n := len(line); n > 0 && strings.TrimSpace(line[n-1]) == "" {
			line = line[:n-1]
		}
		if len(line) > 0 {
			lines = append(lines, strings.Join(line, ""))
		}
	}
	return lines
}

// breakLong cuts a word that no line holds: behind its last hyphen in the room that there is, else at
// its end.
func breakLong(word string, room int) (head, tail string) {
	letters := []rune(word)
	end := min(max(room, 0), len(letters))
	for i := end - 1; i > 0; i-- {
		if letters[i] == '-' {
			if strings.Trim(string(letters[:i]), "-") != "" {
				end = i + 1
			}
			break
		}
	}
	return string(letters[:end]), string(letters[end:])
}

// chunks splits text whose only white space is single spaces into what stays together on a line.
func chunks(text string) []string {
	var all []string
	for i, word := range strings.Split(text, " ") {
		if i > 0 {
			all = append(all, " ")
		}
		letters := []rune(word)
		start := 0
		for i := 1; i <= len(letters); i++ {
			if i == len(letters) || breaks(letters, start, i) {
				all = append(all, string(letters[start:i]))
				start = i
			}
		}
	}
	return all
}

// breaks reports whether a word may be broken in front of its letter i, where a part began at start.
func breaks(w []rune, start, i int) bool {
	at := func(k int) rune {
		if k < 0 || k >= len(w) {
			return ' '
		}
		return w[k]
	}
	letter := func(k int) bool { return unicode.IsLetter(at(k)) || at(k) == '_' }
	if dashes := dashesAt(w, start); dashes > 0 && inWord(at(start-1)) {
		return i == start+dashes // a dash between words is a part of its own
	}
	if inWord(at(i-1)) && dashesAt(w, i) > 0 {
		return true
	}
	if at(i-1) != '-' || i-1 <= start {
		return false
	}
	behind := letter(i-2) && (letter(i-3) || at(i-3) == '-' && letter(i-4))
	before := letter(i) && (letter(i+1) || at(i+1) == '-' && letter(i+2))
	return behind && before
}

// dashesAt is the number of dashes of a dash between words that begins there: two or more, then a
// letter or digit.
func dashesAt(w []rune, i int) int {
	n := 0
	for i+n < len(w) && w[i+n] == '-' {
		n++
	}
	if n < 2 || i+n >= len(w) || !isWord(w[i+n]) {
		return 0
	}
	return n
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || r == '_' }

func inWord(r rune) bool { return isWord(r) || strings.ContainsRune(`!"'&.,?`, r) }

func length(s string) int { return utf8.RuneCountInString(s) }
