package cloud

// lambda is the API of Lambda.
type lambda struct{ *Account }

func newLambda(a *Account) api { return &lambda{a} }

func (p *lambda) offers() []Offer { return nil }

func (p *lambda) routes() []route { return nil }

func (p *lambda) refuse(op string, status int) reply { return reply{status: status} }
