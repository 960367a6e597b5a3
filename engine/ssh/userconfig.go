package ssh

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// A userConfig is ~/.ssh/config. The nil one is empty.
type userConfig struct {
	path   string
	config *ssh_config.Config
	noJump bool
}

// maxIncludes bounds how deep files include each other.
const maxIncludes = 16

// readUserConfig reads the configuration in the folder dir. What cannot be read or understood never
// stands in the way of a connection: it is left out, with a warning.
func readUserConfig(dir string) (*userConfig, []string) {
	path := filepath.Join(dir, "config")
	var warnings []string
	text := flattenConfig(path, dir, 0, &warnings)
	if text == "" {
		return &userConfig{path: path}, warnings
	}
	config, err := ssh_config.DecodeBytes([]byte(text))
	if err != nil {
		warnings = append(warnings, fmt.Sprintf("%s was ignored: %v", path, err))
		return &userConfig{path: path}, warnings
	}
	return &userConfig{path: path, config: config}, warnings
}

// flattenConfig returns the text of the file with its Include lines replaced by what they name and
// without the Match blocks whose conditions are not known here.
func flattenConfig(path, dir string, depth int, warnings *[]string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		if !os.IsNotExist(err) {
			*warnings = append(*warnings, fmt.Sprintf("SSH configuration not read: %v", err))
		}
		return ""
	}
	var b strings.Builder
	block, skipping := "Host *", false // the block that the present line belongs to
	for i, line := range strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n") {
		key, value := configLine(line)
		switch key {
		case "":
			continue
		case "host":
			block, skipping = "Host "+strings.ReplaceAll(value, `"`, ""), false
			line = block
		case "match":
			var ok bool
			if block, ok = matchAsHost(value); !ok {
				*warnings = append(*warnings, fmt.Sprintf("%s:%d: \"Match %s\" is not supported and its block was ignored", path, i+1, value))
				skipping = true
				continue
			}
			skipping = false
			line = block
		case "include":
			if skipping {
				continue
			}
			if depth >= maxIncludes {
				*warnings = append(*warnings, fmt.Sprintf("%s:%d: files include each other too deeply", path, i+1))
				continue
			}
			for _, pattern := range strings.Fields(value) {
				pattern = strings.Trim(pattern, `"`)
				if rest, ok := strings.CutPrefix(pattern, "~/"); ok {
					pattern = filepath.Join(filepath.Dir(dir), rest)
				} else if !filepath.IsAbs(pattern) {
					pattern = filepath.Join(dir, pattern)
				}
				files, _ := filepath.Glob(pattern)
				for _, f := range files {
					b.WriteString(flattenConfig(f, dir, depth+1, warnings))
				}
			}
			line = block // what follows belongs to the block that the Include stood in
		}
		if !skipping {
			b.WriteString(line)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// configLine splits a line into its keyword in lower case and its value; both are empty for a
// comment or an empty line.
func configLine(line string) (key, value string) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", ""
	}
	i := strings.IndexAny(line, " \t=")
	if i < 0 {
		return strings.ToLower(line), ""
	}
	value = strings.TrimSpace(line[i:])
	value = strings.TrimSpace(strings.TrimPrefix(value, "="))
	return strings.ToLower(line[:i]), value
}

// matchAsHost rewrites the criteria that depend on nothing but the host's name as it was typed.
func matchAsHost(criteria string) (string, bool) {
	f := strings.Fields(criteria)
	switch {
	case len(f) == 1 && strings.EqualFold(f[0], "all"):
		return "Host *", true
	case len(f) == 2 && (strings.EqualFold(f[0], "host") || strings.EqualFold(f[0], "originalhost")):
		return "Host " + strings.ReplaceAll(strings.Trim(f[1], `"`), ",", " "), true
	}
	return "", false
}

// withoutJump returns the same configuration in which no host has a ProxyJump.
func (u *userConfig) withoutJump() *userConfig {
	v := *u
	v.noJump = true
	return &v
}

func (u *userConfig) get(alias, key string) string {
	all := u.getAll(alias, key)
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

func (u *userConfig) getAll(alias, key string) []string {
	if u.config == nil || (u.noJump && key == "ProxyJump") {
		return nil
	}
	values, err := u.config.GetAll(alias, key)
	if err != nil {
		return nil
	}
	for i, v := range values {
		if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
			values[i] = v[1 : len(v)-1]
		}
	}
	return values
}
