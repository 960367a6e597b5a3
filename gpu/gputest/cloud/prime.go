package cloud

// prime is the API of Prime.
type prime struct{ *Account }

func newPrime(a *Account) api { return &prime{a} }

func (p *prime) offers() []Offer { return nil }

func (p *prime) routes() []route { return nil }

func (p *prime) refuse(op string, status int) reply { return reply{status: status} }
